//! The last word of a dead core: what it had prepared and signed, and only its supervisor can say.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::link::{self, Farewell};
use crate::sys::signal;

/// The released word is sent this often: any one of them is enough, and datagrams get lost.
const REPEATS: usize = 3;
/// Pause between two of them.
const PAUSE: Duration = Duration::from_millis(10);
/// Longest wait for serial lines: three long datagrams at 9600 baud take 4.4 s.
const SLOW_MAX: Duration = Duration::from_secs(5);

/// Says it on every link. What a dead core had held must be released by then.
pub(super) async fn say(farewell: &[Farewell]) {
    let (slow, quick): (Vec<_>, Vec<_>) = farewell.iter().partition(|word| word.is_slow());
    for repeat in 0..REPEATS {
        if repeat > 0 {
            sleep(PAUSE).await;
        }
        quick.iter().for_each(|word| say_word(word));
    }
    say_slowly(slow.into_iter().cloned().collect()).await;
}

/// Serial lines: closing one waits until it has sent what it has. The next core finds them free,
/// unless they are stuck.
async fn say_slowly(words: Vec<Farewell>) {
    if words.is_empty() {
        return;
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    let talk = move || {
        signal::hold_back();
        (0..REPEATS).for_each(|_| words.iter().for_each(say_word));
        let _nobody_waits = tell.send(());
    };
    match std::thread::Builder::new().name("farewell".to_owned()).spawn(talk) {
        Ok(_) => drop(timeout(SLOW_MAX, told).await),
        Err(e) => warn!("no thread for the released word on serial lines: {e}"),
    }
}

fn say_word(word: &Farewell) {
    if let Err(e) = link::say(word) {
        warn!("the released word can't be sent to {word}: {e}");
    }
}
