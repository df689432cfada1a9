//! A server that swallows connections, for tests.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// A listener that never accepts, with a full backlog: further connections hang, as if the server
/// swallowed them.
pub(crate) struct BlackHole {
    pub(crate) address: SocketAddr,
    _listener: TcpListener,
    _filling: Vec<tokio::task::JoinHandle<io::Result<TcpStream>>>,
}

impl BlackHole {
    pub(crate) async fn open() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut filling = Vec::new();
        loop {
            let mut task = tokio::spawn(TcpStream::connect(address));
            let opened = tokio::time::timeout(Duration::from_millis(300), &mut task).await;
            let is_full = opened.is_err();
            filling.push(match opened {
                Ok(stream) => tokio::spawn(std::future::ready(stream.unwrap())),
                Err(_) => task,
            });
            if is_full {
                return Self { address, _listener: listener, _filling: filling };
            }
        }
    }
}
