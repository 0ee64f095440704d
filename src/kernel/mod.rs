//! The kernel as directway sees it.
