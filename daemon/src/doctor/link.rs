//! Whether updates can come. What the link says of itself is all that is known here: whether the control
//! plane can be reached is its word, and `serve` has no network to try.

use super::finding::Finding;
use super::patient::Patient;
use crate::host::{HostError, LinkFile};
use crate::ledger::LinkWord;
use crate::link::word;
use crate::moment::{apart, span};

pub(super) fn check(patient: &Patient) -> Vec<Finding> {
    match LinkFile::load(&patient.settings.state) {
        Err(HostError::NoLink) => {
            return vec![Finding::ok(LINK, "none: this host was enrolled without a control plane")];
        }
        Err(HostError::NotEnrolled(_)) => {
            return vec![Finding::fail(LINK, "this host is not enrolled", "run `miosad enroll`")];
        }
        Err(HostError::Damaged(path)) => {
            let says = format!("{} is damaged", path.display());
            return vec![Finding::fail(LINK, says, "run `miosad unenroll` and enroll again")];
        }
        // Whether it may be read or not, what the link says counts.
        Ok(_) | Err(_) => {}
    }
    let Some(status) = patient.told() else {
        return vec![Finding::untold(
            LINK,
            "the link tells the daemon how it fares, and that can't be asked",
        )];
    };
    vec![match &status.link {
        None => Finding::fail(LINK, "the link was not heard since the daemon was started", START),
        Some(heard) => judge(heard, patient.now.unix_ms),
    }]
}

fn judge(heard: &LinkWord, now: u64) -> Finding {
    let silent = now.saturating_sub(heard.at) / 1_000;
    let ago = apart(heard.at, now);
    match heard.state.as_str() {
        word::CONNECTED if silent <= LOOK_SECONDS => Finding::ok(LINK, "connected to the control plane"),
        word::CONNECTED => {
            Finding::fail(LINK, format!("it was connected, and has been silent for {}", span(silent)), START)
        }
        _ if silent > PAUSE_SECONDS => {
            Finding::fail(LINK, format!("it has been silent for {}", span(silent)), START)
        }
        word::CONNECTING => Finding::warn(LINK, format!("it was connecting {ago}"), "ask again in a minute"),
        state => {
            let (says, action) = in_words(state);
            Finding::fail(LINK, format!("{says} ({state}, {ago})"), action)
        }
    }
}

fn in_words(state: &str) -> (&'static str, &'static str) {
    match state {
        word::UNREACHABLE => (
            "it can't reach the control plane",
            "`journalctl -u miosad-link` says which step fails: name, network, or certificate",
        ),
        word::DENIED => (
            "the control plane does not know this host's token",
            "if the host was revoked there, run `miosad unenroll` and enroll again",
        ),
        word::REFUSED => {
            ("the control plane answers with an error", "read its log, and `journalctl -u miosad-link`")
        }
        word::NOT_KEPT => ("the daemon can't keep what it is handed", "see the lines `disk` and `state`"),
        word::USELESS => (
            "the daemon refuses all that the control plane sends",
            "`miosad status` has the last refusal and what to do about it",
        ),
        _ => ("the stream from the control plane breaks", "`journalctl -u miosad-link` says how"),
    }
}

const LINK: &str = "link";
const START: &str = "`systemctl restart miosad-link`; `journalctl -u miosad-link` says why it ended";

/// It looks every 2 seconds while it is connected.
const LOOK_SECONDS: u64 = 20;

/// The longest pause between two tries, with the time of a try: the control plane may ask for 10 minutes.
const PAUSE_SECONDS: u64 = 720;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    #[test]
    fn silence_and_every_word_but_connected_are_told_with_what_to_do() {
        let word = |state: &str, seconds: u64| {
            judge(&LinkWord { state: state.to_owned(), at: 10_000_000 - seconds * 1_000 }, 10_000_000)
        };
        assert_eq!(word(word::CONNECTED, 2).verdict, Verdict::Ok);
        assert_eq!(word(word::CONNECTED, 30).says, "it was connected, and has been silent for 30 s");
        assert_eq!(word(word::CONNECTING, 3).verdict, Verdict::Warn);
        assert_eq!(word(word::UNREACHABLE, 1_000).says, "it has been silent for 16 min");
        for state in word::WORDS.into_iter().skip(2) {
            let found = word(state, 5);
            assert_eq!(found.verdict, Verdict::Fail, "{state}");
            assert!(
                found.says.contains(&format!("({state}, 5 s ago)")) && found.action.is_some(),
                "{found:?}"
            );
        }
    }
}
