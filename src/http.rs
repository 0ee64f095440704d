//! One plain HTTP request, limited in time and size, because any program may listen at the address.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status line.
    pub status: String,
    /// Everything after the head.
    pub body: String,
}

impl Answer {
    /// Whether the status is 200.
    pub fn is_ok(&self) -> bool {
        self.status.split(' ').nth(1) == Some("200")
    }
}

/// Sends a GET. The whole response may have at most `limit` bytes, and the exchange may take at most `patience`.
pub async fn get(
    address: SocketAddr,
    path: &str,
    limit: u64,
    patience: Duration,
) -> io::Result<Answer> {
    let asked = tokio::time::timeout(patience, exchange(address, path, limit));
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("not in {patience:?}"));
    let text = String::from_utf8(asked.await.map_err(late)??);
    let text = text.map_err(|_| malformed("the answer is not text"))?;
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or_else(|| malformed("the answer is not HTTP"))?;
    Ok(Answer {
        status: head.lines().next().unwrap_or_default().to_owned(),
        body: body.to_owned(),
    })
}

/// HTTP/1.0: the response is not chunked, and the server closes the connection after it.
async fn exchange(address: SocketAddr, path: &str, limit: u64) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // Reads one byte more than `limit`, to notice a response that is too long.
    let mut stream = stream.take(limit.saturating_add(1));
    stream.read_to_end(&mut answer).await?;
    if answer.len() as u64 > limit {
        return Err(malformed("the answer is too long"));
    }
    Ok(answer)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// What `get` returns from a server that sends `text` and, with `hold`, keeps the connection open.
    async fn asked(text: &'static str, hold: bool) -> io::Result<Answer> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            if hold {
                stream.read_to_end(&mut rest).await.unwrap();
            } else {
                stream.read_buf(&mut rest).await.unwrap();
            }
        });
        let answer = get(address, "/x", 100, Duration::from_millis(200)).await;
        server.abort();
        answer
    }

    #[tokio::test]
    async fn an_answer_is_taken_apart() {
        let answer = asked("HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}\r\n\r\n", false).await;
        let answer = answer.unwrap();
        assert!(answer.is_ok());
        assert_eq!(answer.body, "{}\r\n\r\n");
        let answer = asked("HTTP/1.1 404 Not Found\r\n\r\n200", false).await;
        assert!(!answer.unwrap().is_ok());
    }

    #[tokio::test]
    async fn neither_silence_nor_noise_is_endless() {
        let kind = |answer: io::Result<Answer>| answer.unwrap_err().kind();
        let held = kind(asked("HTTP/1.0 200 OK\r\n\r\n", true).await);
        assert_eq!(held, io::ErrorKind::TimedOut);
        let long = "HTTP/1.0 200 OK\r\n\r\n0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";
        assert_eq!(kind(asked(long, true).await), io::ErrorKind::InvalidData);
        let noise = kind(asked("SSH-2.0\r\n", false).await);
        assert_eq!(noise, io::ErrorKind::InvalidData);
    }
}
