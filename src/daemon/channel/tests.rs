//! Frames that come in pieces, together, too long, wrong or not at all.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::*;

type Texts = Channel<String, String>;

/// A test that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await });
    assert!(ended.is_ok(), "not done in {PATIENCE:?}");
}

fn raw() -> (UnixStream, Texts) {
    let (near, far) = UnixStream::pair().unwrap();
    (near, Channel::new(far))
}

#[test]
fn messages_arrive_in_order_and_the_end_is_none() {
    run(async {
        let (near, mut far) = raw();
        let mut near = Texts::new(near);
        near.send(&"one".to_owned()).await.unwrap();
        near.send(&String::new()).await.unwrap();
        drop(near);
        assert_eq!(far.recv().await.unwrap().as_deref(), Some("one"));
        assert_eq!(far.recv().await.unwrap().as_deref(), Some(""));
        assert_eq!(far.recv().await.unwrap(), None);
    });
}

#[test]
fn a_frame_may_come_in_single_bytes_and_two_in_one_piece() {
    run(async {
        let (mut near, mut far) = raw();
        for byte in b"\0\0\0\x03\"a\"" {
            near.write_all(&[*byte]).await.unwrap();
        }
        near.write_all(b"\0\0\0\x03\"b\"\0\0\0\x03\"c\"").await.unwrap();
        for expected in ["a", "b", "c"] {
            assert_eq!(far.recv().await.unwrap().as_deref(), Some(expected));
        }
    });
}

#[test]
fn an_oversized_frame_is_an_error_for_good() {
    run(async {
        let (mut near, mut far) = raw();
        near.write_all(b"\xff\xff\xff\xff\0\0\0\x03\"a\"").await.unwrap();
        for _ in 0..2 {
            assert!(matches!(far.recv().await, Err(ChannelError::Oversized(0xffff_ffff))));
        }
    });
}

#[test]
fn a_malformed_frame_does_not_spoil_the_next_one() {
    run(async {
        let (mut near, mut far) = raw();
        near.write_all(b"\0\0\0\x01{\0\0\0\x017\0\0\0\x03\"a\"").await.unwrap();
        assert!(matches!(far.recv().await, Err(ChannelError::Malformed(_))));
        assert!(matches!(far.recv().await, Err(ChannelError::Malformed(_))));
        assert_eq!(far.recv().await.unwrap().as_deref(), Some("a"));
    });
}

#[test]
fn an_end_inside_a_frame_is_an_error() {
    for part in [&b"\0\0"[..], b"\0\0\0\x03\"a"] {
        run(async {
            let (mut near, mut far) = raw();
            near.write_all(part).await.unwrap();
            drop(near);
            assert!(matches!(far.recv().await, Err(ChannelError::Truncated)), "{part:?}");
        });
    }
}

#[test]
fn a_message_over_the_limit_is_not_sent_and_the_channel_goes_on() {
    run(async {
        let (near, mut far) = raw();
        let mut near = Texts::new(near);
        let refused = near.send(&"x".repeat(FRAME_MAX)).await;
        assert!(matches!(refused, Err(ChannelError::Oversized(_))));
        near.send(&"small".to_owned()).await.unwrap();
        assert_eq!(far.recv().await.unwrap().as_deref(), Some("small"));
    });
}

#[test]
fn a_dropped_send_and_a_dropped_recv_lose_nothing() {
    run(async {
        let (near, far) = raw();
        let (mut sender, _keep) = Texts::new(near).split();
        let (_keep_too, mut receiver) = far.split();
        let large = "y".repeat(4 * 1024 * 1024);
        sender.queue(&large).unwrap();
        sender.queue(&"last".to_owned()).unwrap();
        let mut heard = Vec::new();
        while heard.len() < 2 {
            // Whoever is ready first drops the other in the middle of its work.
            tokio::select! {
                message = receiver.recv() => heard.push(message.unwrap().unwrap()),
                sent = sender.flush(), if sender.is_waiting() => sent.unwrap(),
            }
        }
        assert_eq!(heard.first(), Some(&large));
        assert_eq!(heard.last().map(String::as_str), Some("last"));
    });
}
