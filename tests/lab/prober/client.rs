//! Sending the requests: the schedule, one task a request, the log. What the results mean is
//! `report.rs`.

use std::cell::RefCell;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::now;
use crate::report::{Record, Summary, read_marks};

/// An answer longer than this is `cut`; the lab's pages have one line.
const ANSWER_LIMIT: usize = 64 * 1024;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Whom to ask.
    target: SocketAddr,
    /// Requests a second.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Stop after so many; without it, at SIGTERM or SIGINT.
    #[arg(long)]
    count: Option<u32>,
    /// A request not wholly answered within so many milliseconds has failed.
    #[arg(long, default_value_t = 900)]
    timeout: u64,
    /// One line a request.
    #[arg(long)]
    log: Option<PathBuf>,
    /// The summary as JSON; stdout without it.
    #[arg(long)]
    summary: Option<PathBuf>,
    /// Read at the end: the events to report on, as `prober mark` writes them.
    #[arg(long)]
    marks: Option<PathBuf>,
}

pub(crate) fn probe(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let records = LocalSet::new().block_on(&runtime, ask_at_rate(options))?;
    if let Some(path) = &options.log {
        write_log(&records, BufWriter::new(File::create(path)?))?;
    }
    let marks = options.marks.as_deref().map(read_marks).transpose()?.unwrap_or_default();
    let summary = serde_json::to_string_pretty(&Summary::of(&records, &marks))?;
    match &options.summary {
        Some(path) => std::fs::write(path, summary + "\n")?,
        None => println!("{summary}"),
    }
    Ok(())
}

/// The records in the order in which the requests were sent.
async fn ask_at_rate(options: &Options) -> io::Result<Vec<Record>> {
    let mut ends = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    let [terminate, interrupt] = &mut ends;
    let records = Rc::new(RefCell::new(Vec::new()));
    let (target, limit) = (options.target, Duration::from_millis(options.timeout));
    let (first, interval) = (Instant::now(), Duration::from_secs(1) / options.rate);
    let mut asked = Vec::new();
    for number in 0..options.count.unwrap_or(u32::MAX) {
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = sleep_until(first + interval * number) => {}
        }
        let records = Rc::clone(&records);
        asked.push(tokio::task::spawn_local(async move {
            let sent = now();
            let outcome = ask(target, limit).await;
            records.borrow_mut().push(Record { sent, ended: now(), outcome });
        }));
    }
    for request in asked {
        request.await.map_err(io::Error::other)?;
    }
    let mut records = records.take();
    records.sort_by_key(|record| record.sent);
    Ok(records)
}

/// Who answered, or the kind of failure.
async fn ask(target: SocketAddr, limit: Duration) -> Result<String, String> {
    match timeout(limit, exchange(target)).await {
        Err(_) => Err("timeout".to_owned()),
        Ok(Err(error)) => Err(kind(&error)),
        Ok(Ok(answer)) => judge(&answer),
    }
}

async fn exchange(target: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: lab\r\n\r\n").await?;
    let mut answer = Vec::with_capacity(512);
    while stream.read_buf(&mut answer).await? > 0 && answer.len() < ANSWER_LIMIT {}
    Ok(answer)
}

fn kind(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "reset".to_owned(),
        io::ErrorKind::TimedOut => "timeout".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "unreachable".to_owned()
        }
        _ => error.to_string(),
    }
}

/// An answer counts when its head says 200 and its body has the length the head promised.
fn judge(answer: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or("cut")?;
    let status = head.split(' ').nth(1).ok_or("cut")?;
    if status != "200" {
        return Err(format!("status {status}"));
    }
    let promised = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    if promised.is_some_and(|length| length != body.len()) || body.is_empty() {
        return Err("cut".to_owned());
    }
    Ok(body.lines().next().unwrap_or_default().to_owned())
}

fn write_log(records: &[Record], mut log: impl Write) -> io::Result<()> {
    for Record { sent, ended, outcome } in records {
        let taken = ended - sent;
        match outcome {
            Ok(server) => writeln!(log, "{sent} {taken} ok {server}")?,
            Err(kind) => writeln!(log, "{sent} {taken} failed {kind}")?,
        }
    }
    log.flush()
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn an_answer_is_whole_or_it_is_none() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nserver106\n";
        assert_eq!(judge(whole), Ok("server106".to_owned()));
        let (cut, _) = whole.split_at(whole.len() - 1);
        assert_eq!(judge(cut), Err("cut".to_owned()), "the last byte is missing");
        assert_eq!(judge(b""), Err("cut".to_owned()), "closed without a word");
        assert_eq!(
            judge(b"HTTP/1.0 503 Busy\r\n\r\nserver106\n"),
            Err("status 503".to_owned()),
            "a page that came with an error is no answer"
        );
    }
}
