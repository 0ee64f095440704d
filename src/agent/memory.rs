//! Memory: an agent shares its node with the applications.

/// Makes glibc keep one heap for all threads and give freed memory back early.
///
/// By default every thread grows a heap of its own (up to eight per CPU) and keeps its memory, so an agent would hold
/// the sum of its threads' peaks. To be called before the first thread is started.
pub(super) fn keep_small() {
    #[cfg(target_env = "gnu")]
    {
        // mallopt(3): 0 on error, in which case the default stays, which is merely larger.
        set(libc::M_ARENA_MAX, 1);
        set(libc::M_TRIM_THRESHOLD, 128 * 1024);
    }
}

#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
fn set(parameter: libc::c_int, value: libc::c_int) {
    // SAFETY: takes two integers and locks the allocator by itself.
    let _ = unsafe { libc::mallopt(parameter, value) };
}
