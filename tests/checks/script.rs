//! Servers that follow a script, well behaved or not.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// One thing that a server does.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Says this.
    Say(Vec<u8>),
    /// Reads a line.
    Hear,
    /// Reads up to an empty line.
    HearHead,
    /// Says this for ever, as fast as it is taken.
    Endless(Vec<u8>),
    /// Says this at one byte a second.
    Drip(Vec<u8>),
    /// Says that nothing more will come, and goes on.
    HalfClose,
    /// Closes.
    Close,
    /// Ends the connection with RST.
    Reset,
    /// TLS from here on.
    Tls,
    /// Takes everything and says nothing more.
    Stay,
    /// Takes nothing and says nothing.
    Freeze,
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for S {}

/// A listener whose every connection goes by the script.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Scripted {
    pub(crate) async fn open(script: Vec<Act>, acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, acceptor) = (script.clone(), acceptor.clone());
                connections.spawn(play(stream, script, acceptor));
            }
        });
        Self { address, task }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn play(stream: TcpStream, script: Vec<Act>, acceptor: Option<TlsAcceptor>) {
    let reset = script.iter().any(|act| matches!(act, Act::Reset));
    if reset {
        stream.set_zero_linger().unwrap();
    }
    let mut wire: Box<dyn Wire> = Box::new(stream);
    for act in script {
        let done = match act {
            Act::Tls => {
                let Some(acceptor) = &acceptor else { return };
                match acceptor.accept(wire).await {
                    Ok(tls) => {
                        wire = Box::new(tls);
                        continue;
                    }
                    Err(_) => return,
                }
            }
            Act::Close | Act::Reset => return,
            act => one(&mut *wire, act).await,
        };
        if done.is_err() {
            return;
        }
    }
    let _ = one(&mut *wire, Act::Stay).await;
}

async fn one(wire: &mut dyn Wire, act: Act) -> std::io::Result<()> {
    match act {
        Act::Say(text) => {
            wire.write_all(&text).await?;
            wire.flush().await
        }
        Act::Hear => {
            while wire.read_u8().await? != b'\n' {}
            Ok(())
        }
        Act::HearHead => {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(wire.read_u8().await?);
            }
            Ok(())
        }
        Act::Endless(text) => loop {
            wire.write_all(&text).await?;
        },
        Act::Drip(text) => {
            let mut second = tokio::time::interval(Duration::from_secs(1));
            for byte in text {
                second.tick().await;
                wire.write_all(&[byte]).await?;
                wire.flush().await?;
            }
            Ok(())
        }
        Act::HalfClose => wire.shutdown().await,
        Act::Stay => {
            let mut bin = [0; 1024];
            while wire.read(&mut bin).await? > 0 {}
            std::future::pending().await
        }
        Act::Freeze => std::future::pending().await,
        Act::Close | Act::Reset | Act::Tls => Ok(()),
    }
}

/// TLS with the certificate and key of a directory, see `Place::certificate`.
pub(crate) fn acceptor(directory: &Path) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = CertificateDer::from_pem_file(directory.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(directory.join("key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
