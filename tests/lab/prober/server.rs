//! A web server with one page: whatever is asked, the answer is that line.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

/// A request head longer than this is not answered.
const HEAD_LIMIT: usize = 8 * 1024;
/// A connection that has not said what it wants by then is closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves until the process is ended.
pub(crate) fn serve(address: SocketAddr, page: &str) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let length = page.len() + 1;
    let answer: Rc<[u8]> = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}\n"
    )
    .into_bytes()
    .into();
    LocalSet::new().block_on(&runtime, accept(address, answer))?;
    Ok(())
}

async fn accept(address: SocketAddr, answer: Rc<[u8]>) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let answer = Rc::clone(&answer);
        // A client that goes away in the middle is its own affair.
        spawn_local(async move { timeout(PATIENCE, converse(stream, &answer)).await });
    }
}

async fn converse(mut stream: TcpStream, answer: &[u8]) -> io::Result<()> {
    let mut head = Vec::with_capacity(512);
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        if head.len() > HEAD_LIMIT || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    stream.write_all(answer).await?;
    stream.shutdown().await
}
