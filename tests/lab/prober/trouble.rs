//! A server as no check should meet one: it takes every connection and then does one bad thing.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

/// What it does to those who connect.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Trouble {
    /// Says nothing, ever; to a TLS client too.
    Tarpit,
    /// Answers one byte a second.
    Slow,
    /// Answers without end, as fast as it is read.
    Endless,
    /// Resets as soon as something is asked.
    Reset,
}

/// Makes trouble until the process is ended.
pub(crate) fn make(address: SocketAddr, trouble: Trouble) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            // Whoever goes away has understood.
            spawn_local(bother(stream, trouble));
        }
    })
}

async fn bother(mut stream: TcpStream, trouble: Trouble) -> io::Result<()> {
    let mut asked = [0; 1024];
    if stream.read(&mut asked).await? == 0 {
        return Ok(());
    }
    match trouble {
        Trouble::Tarpit => while stream.read(&mut asked).await? > 0 {},
        Trouble::Slow => {
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nserver\n".iter().cycle() {
                stream.write_all(&[*byte]).await?;
                sleep(Duration::from_secs(1)).await;
            }
        }
        Trouble::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n").await?;
            loop {
                stream.write_all(&[b'x'; 16 * 1024]).await?;
            }
        }
        Trouble::Reset => stream.set_zero_linger()?,
    }
    Ok(())
}
