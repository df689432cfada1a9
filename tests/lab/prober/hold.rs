//! Connections that stay open: an echo, and a client that keeps many of them busy and counts those
//! that break. A connection is broken when it is reset or closed, or when a byte has not come back
//! within the patience.

use std::cell::Cell;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Whom to connect to.
    target: SocketAddr,
    /// How many connections.
    #[arg(long, default_value_t = 200)]
    connections: u32,
    /// From one byte to the next on each, in milliseconds.
    #[arg(long, default_value_t = 100)]
    every: u64,
    /// A connection whose byte has not come back after so many milliseconds is broken.
    #[arg(long, default_value_t = 10_000)]
    patience: u64,
    /// Written when all are open and each has had an answer.
    #[arg(long)]
    ready: PathBuf,
    /// The result as JSON, at the end.
    #[arg(long)]
    summary: PathBuf,
}

/// What came of the connections.
#[derive(Debug, Default, Serialize)]
struct Held {
    connections: u32,
    broken: u32,
    /// Bytes that came back.
    answered: u64,
    /// The longest wait for one, in milliseconds.
    longest_ms: u64,
    /// Why the first few broke.
    why: Vec<String>,
}

#[derive(Default)]
struct Counts {
    open: Cell<u32>,
    answered: Cell<u64>,
    longest: Cell<Duration>,
}

pub(crate) fn echo(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let mut buffer = [0; 256];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    let Some(heard) = buffer.get(..length) else { return };
                    if stream.write_all(heard).await.is_err() {
                        return;
                    }
                }
            });
        }
    })
}

pub(crate) fn hold(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let held = LocalSet::new().block_on(&runtime, hold_all(options))?;
    std::fs::write(&options.summary, serde_json::to_string_pretty(&held)? + "\n")?;
    Ok(())
}

async fn hold_all(options: &Options) -> io::Result<Held> {
    let mut terminate = signal(SignalKind::terminate())?;
    let counts = Rc::new(Counts::default());
    let (end, ended) = watch::channel(false);
    let mut all = Vec::new();
    let (every, patience) =
        (Duration::from_millis(options.every), Duration::from_millis(options.patience));
    for number in 0..options.connections {
        let stream = TcpStream::connect(options.target).await?;
        stream.set_nodelay(true)?;
        // Spread over the interval, never in step.
        let begin = every * number / options.connections.max(1);
        let (counts, ended) = (Rc::clone(&counts), ended.clone());
        all.push(tokio::task::spawn_local(async move {
            sleep(begin).await;
            talk(stream, (every, patience), &counts, ended).await
        }));
    }
    while counts.open.get() < options.connections && !all.iter().any(|it| it.is_finished()) {
        sleep(Duration::from_millis(10)).await;
    }
    std::fs::write(&options.ready, "")?;
    terminate.recv().await;
    end.send_replace(true);
    let mut held = Held { connections: options.connections, ..Held::default() };
    for connection in all {
        if let Err(why) = connection.await.map_err(io::Error::other)? {
            held.broken += 1;
            held.why.extend((held.why.len() < 5).then(|| why.to_string()));
        }
    }
    held.answered = counts.answered.get();
    held.longest_ms = u64::try_from(counts.longest.get().as_millis()).unwrap_or(u64::MAX);
    Ok(held)
}

/// Until the end, or until it breaks.
async fn talk(
    mut stream: TcpStream,
    (every, patience): (Duration, Duration),
    counts: &Counts,
    mut ended: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut first = true;
    while !*ended.borrow() {
        let asked = Instant::now();
        stream.write_all(b"x").await?;
        let mut byte = [0];
        match timeout(patience, stream.read(&mut byte)).await {
            Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")),
            Ok(Ok(0)) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed")),
            Ok(Err(error)) => return Err(error),
            Ok(Ok(_)) => {}
        }
        counts.answered.set(counts.answered.get() + 1);
        counts.longest.set(counts.longest.get().max(asked.elapsed()));
        if std::mem::take(&mut first) {
            counts.open.set(counts.open.get() + 1);
        }
        let _over = timeout(every, ended.wait_for(|ended| *ended)).await;
    }
    Ok(())
}
