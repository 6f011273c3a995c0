//! What was kept is verified again, under the trust of that moment.

use crate::vectors::build::{Accept, Fail, KeptUpdate, Story, Verdict};
use crate::vectors::document::{Document, signer, signer_for, signer_until, trust};
use crate::vectors::keys::{HOST_2, ROOT_1, SIGNER_1, SIGNER_2, STRANGER, sha256};
use crate::vectors::records::{Change, one, valued};
use crate::vectors::update::{HOUR, MINUTE, NEVER, Offer, T0, Update, first};

const KIND: &str = "restart";
const REPLACE: Verdict = Accept("replace");
const EXTEND: Verdict = Accept("extend");
const REFRESH: Verdict = Accept("refresh");
const UNCHANGED: Verdict = Accept("unchanged");
const SERVED: Verdict = Accept("served");
const NOTHING: Verdict = Accept("nothing");
const FLOOR: Verdict = Fail("J3", "Refusal::BelowFloor");
const LOST: Verdict = Fail("J4", "Refusal::FloorLost");
const BASE: Verdict = Fail("J5", "Refusal::WrongBase");
const UNKNOWN: Verdict = Fail("U3", "OpenError::UnknownSigner");

pub(super) fn cases() -> Vec<Story> {
    [ages(), signers(), caches(), floors(), lost_floors(), lost_trust()].into_iter().flatten().collect()
}

/// A host that holds version 1.
fn story(name: &str, about: &str) -> Story {
    fresh(name, about).takes(first(), REPLACE)
}

fn fresh(name: &str, about: &str) -> Story {
    Story::new(KIND, name, about).pins(&trust())
}

fn kept(update: impl Into<Offer>, verdict: Verdict) -> KeptUpdate {
    (update.into(), verdict)
}

fn ages() -> Vec<Story> {
    let short = first().expires(T0 + 15 * MINUTE).served_until(T0 + HOUR);
    let trust_until = |at| Document::first().expires(at).signed(&[ROOT_1]);
    let signer_until_t0 = Document::first().signers([signer_until(SIGNER_1, T0)]).signed(&[ROOT_1]);
    let held = |name: &str, about: &str, document: &[u8], update: &Update| {
        Story::new(KIND, name, about).pins(document).takes(update, REPLACE)
    };
    vec![
        story("held_state", "It is served again.").restarts(&[&trust()], [kept(first(), REPLACE)], SERVED),
        held("expired_update", "Age refuses new updates only: it is served as stale.", &trust(), &short)
            .at(T0 + 15 * MINUTE + 1)
            .restarts(&[&trust()], [kept(&short, REPLACE)], SERVED),
        held("update_past_its_service", "It verifies, and is too old to serve.", &trust(), &short)
            .at(T0 + HOUR + 1)
            .restarts(&[&trust()], [kept(&short, REPLACE)], SERVED),
        held(
            "expired_update_offered_again_fail",
            "From outside it is new, whatever is held.",
            &trust(),
            &short,
        )
        .at(T0 + 15 * MINUTE + 1)
        .restarts(&[&trust()], [kept(&short, REPLACE)], SERVED)
        .takes(&short, Fail("U12", "OpenError::Expired")),
        held(
            "expired_trust",
            "Nothing new is accepted, and what is held is served.",
            &trust_until(T0),
            &first(),
        )
        .at(T0 + 1)
        .restarts(&[&trust_until(T0)], [kept(first(), REPLACE)], SERVED),
        held("expired_signer", "It had a voice when it spoke.", &signer_until_t0, &first())
            .at(T0 + 1)
            .restarts(&[&signer_until_t0], [kept(first(), REPLACE)], SERVED),
        story(
            "clock_before_the_time_of_issue",
            "The clock was lost; nothing is too new to be what was held.",
        )
        .at(0)
        .restarts(&[&trust()], [kept(first(), REPLACE)], SERVED),
        story("heartbeat", "The newest times count.").takes(first().beat(), REFRESH).restarts(
            &[&trust()],
            [kept(first(), REPLACE), kept(first().beat(), REFRESH)],
            SERVED,
        ),
        story("goes_on_after_it", "As if nothing had been.")
            .restarts(&[&trust()], [kept(first(), REPLACE)], SERVED)
            .takes(first(), UNCHANGED)
            .takes(first().then(2, &valued("two")), EXTEND),
    ]
}

/// The one that the clients of TUF fail: what is kept is verified under the trust of today.
fn signers() -> Vec<Story> {
    let next = Document::first().next();
    let only_2 = next.clone().signers([signer(SIGNER_2)]).signed(&[ROOT_1]);
    let only_1 = next.clone().signers([signer(SIGNER_1)]).signed(&[ROOT_1]);
    let cut_short = |at| next.clone().signers([signer_until(SIGNER_1, at)]).signed(&[ROOT_1]);
    let scoped = |tenants: &[&str]| next.clone().signers([signer_for(SIGNER_1, tenants)]).signed(&[ROOT_1]);
    let two = first().then(2, &valued("two"));
    let by_2 = two.clone().by(SIGNER_2);
    let both = Update::full(1, &one().env("env_2", "globex", "two"));
    let both_then = both.then(2, &Change::nothing().without("env", "env_2"));
    vec![
        story("signer_revoked_fail", "What it signed is not served.").revoked_by(&only_2).restarts(
            &[&trust(), &only_2],
            [kept(first(), UNKNOWN)],
            NOTHING,
        ),
        story("signer_revoked_and_replaced_fail", "Until another one sends all.")
            .revoked_by(&only_2)
            .restarts(&[&trust(), &only_2], [kept(first(), UNKNOWN)], NOTHING)
            .takes(first().beat().by(SIGNER_2), BASE)
            .takes(first().by(SIGNER_2), REPLACE),
        story("revoked_signer_offers_again_fail", "Neither from the cache nor from outside.")
            .revoked_by(&only_2)
            .restarts(&[&trust(), &only_2], [kept(first(), UNKNOWN)], NOTHING)
            .takes(first(), UNKNOWN),
        story("signer_of_an_increment_revoked_fail", "The base alone is older than what was accepted.")
            .takes(&by_2, EXTEND)
            .revoked_by(&only_1)
            .restarts(&[&trust(), &only_1], [kept(first(), REPLACE), kept(&by_2, UNKNOWN)], FLOOR),
        story("signer_of_the_base_revoked_fail", "What is on top of it has no base.")
            .takes(&by_2, EXTEND)
            .revoked_by(&only_2)
            .restarts(&[&trust(), &only_2], [kept(first(), UNKNOWN), kept(&by_2, BASE)], NOTHING),
        story("signer_cut_short_before_it_signed_fail", "It had no voice when it spoke.")
            .revoked_by(&cut_short(T0 - 1))
            .restarts(
                &[&trust(), &cut_short(T0 - 1)],
                [kept(first(), Fail("U11", "OpenError::SignerExpired"))],
                NOTHING,
            ),
        story("signer_cut_short_after_it_signed", "It had a voice when it spoke.")
            .trusts(&cut_short(T0), Accept("follow"))
            .restarts(&[&trust(), &cut_short(T0)], [kept(first(), REPLACE)], SERVED),
        story("signer_for_others_now_fail", "It may not speak for this tenant any more.")
            .revoked_by(&scoped(&["globex"]))
            .restarts(&[&trust(), &scoped(&["globex"])], [kept(first(), Fail("P6", "OutOfScope"))], NOTHING),
        story("signer_for_fewer_now", "It may still speak for this tenant.")
            .trusts(&scoped(&["acme"]), Accept("follow"))
            .restarts(&[&trust(), &scoped(&["acme"])], [kept(first(), REPLACE)], SERVED),
        story("signer_of_the_last_heartbeat_revoked_fail", "Its times are gone, and the state is served.")
            .takes(first().beat().by(SIGNER_2), REFRESH)
            .revoked_by(&only_1)
            .restarts(
                &[&trust(), &only_1],
                [kept(first(), REPLACE), kept(first().beat().by(SIGNER_2), UNKNOWN)],
                SERVED,
            ),
        fresh("signer_for_fewer_than_it_spoke_for_fail", "A tenant that is gone from the state counts too.")
            .takes(&both, REPLACE)
            .takes(&both_then, EXTEND)
            .revoked_by(&scoped(&["acme"]))
            .restarts(
                &[&trust(), &scoped(&["acme"])],
                [kept(&both, Fail("P6", "OutOfScope")), kept(&both_then, BASE)],
                NOTHING,
            ),
        story("signer_of_another_full_one_revoked_fail", "What took its place stands.")
            .takes(Update::full(2, &valued("two")).by(SIGNER_2), REPLACE)
            .trusts(&only_2, Accept("follow"))
            .restarts(
                &[&trust(), &only_2],
                [kept(first(), UNKNOWN), kept(Update::full(2, &valued("two")).by(SIGNER_2), REPLACE)],
                SERVED,
            ),
    ]
}

/// Caches that somebody has been at.
fn caches() -> Vec<Story> {
    let (one, two) = (first(), first().then(2, &valued("two")));
    let three = two.then(3, &Change::nothing().env("env_2", "acme", "three"));
    let at_three = |name: &str, about: &str| story(name, about).takes(&two, EXTEND).takes(&three, EXTEND);
    let restart = |name: &str, about: &str, updates: Vec<KeptUpdate>, verdict: Verdict| {
        story(name, about).restarts(&[&trust()], updates, verdict)
    };
    let mut flipped = first().envelope().bytes();
    flipped[40] ^= 1;
    let cut = first().envelope().bytes()[..500].to_vec();
    let other_key = first().sealed_to(HOST_2);
    vec![
        at_three("increments", "Each on top of the one before, again.").restarts(
            &[&trust()],
            [kept(&one, REPLACE), kept(&two, EXTEND), kept(&three, EXTEND)],
            SERVED,
        ),
        at_three("increment_missing_fail", "What is left is older than what was accepted.").restarts(
            &[&trust()],
            [kept(&one, REPLACE), kept(&three, BASE)],
            FLOOR,
        ),
        at_three("last_increment_missing_fail", "What is left is older than what was accepted.").restarts(
            &[&trust()],
            [kept(&one, REPLACE), kept(&two, EXTEND)],
            FLOOR,
        ),
        at_three("increments_swapped_fail", "What is out of order has no base.").restarts(
            &[&trust()],
            [kept(&one, REPLACE), kept(&three, BASE), kept(&two, EXTEND)],
            FLOOR,
        ),
        at_three("base_missing_fail", "Increments alone are no state.").restarts(
            &[&trust()],
            [kept(&two, BASE), kept(&three, BASE)],
            NOTHING,
        ),
        at_three("increment_twice", "The second is no news.").restarts(
            &[&trust()],
            [kept(&one, REPLACE), kept(&two, EXTEND), kept(&two, UNCHANGED), kept(&three, EXTEND)],
            SERVED,
        ),
        restart(
            "full_twice",
            "The second is no news.",
            vec![kept(&one, REPLACE), kept(&one, UNCHANGED)],
            SERVED,
        ),
        restart("empty", "Nothing is served, and the floor stays.", vec![], NOTHING),
        restart(
            "flipped_bit_fail",
            "Damage is not served.",
            vec![kept(flipped, Fail("U4", "OpenError::BadSignature"))],
            NOTHING,
        ),
        restart(
            "cut_short_fail",
            "Damage is not served.",
            vec![kept(cut, Fail("E2", "EnvelopeError::Malformed"))],
            NOTHING,
        ),
        restart(
            "empty_file_fail",
            "Damage is not served.",
            vec![kept(Vec::new(), Fail("E2", "EnvelopeError::Malformed"))],
            NOTHING,
        ),
        restart("somebody_elses_fail", "By a stranger.", vec![kept(first().by(STRANGER), UNKNOWN)], NOTHING),
        restart(
            "another_hosts_fail",
            "A disk of another host.",
            vec![kept(first().to("host_2"), Fail("U2", "OpenError::WrongHost"))],
            NOTHING,
        ),
        restart(
            "sealed_to_another_key_fail",
            "A cache from before the host was enrolled anew.",
            vec![kept(other_key, Fail("U5", "OpenError::Undecryptable"))],
            NOTHING,
        ),
        restart(
            "epoch_that_was_never_granted_fail",
            "Only roots grant epochs.",
            vec![kept(first().epoch(2), Fail("U9", "OpenError::EpochAboveTrust"))],
            NOTHING,
        ),
        restart(
            "malformed_payload_fail",
            "What was never accepted is not served now.",
            vec![kept(first().carrying("{}"), Fail("P1", "PayloadError::Malformed"))],
            NOTHING,
        ),
        restart(
            "heartbeat_of_another_state_fail",
            "It is passed over, and the state is served.",
            vec![kept(&one, REPLACE), kept(two.beat(), BASE)],
            SERVED,
        ),
        restart(
            "heartbeat_of_another_envelope_fail",
            "It is passed over, and the state is served.",
            vec![kept(&one, REPLACE), kept(one.beat().claims_base(1, &sha256(b"x")), BASE)],
            SERVED,
        ),
        restart("heartbeat_alone_fail", "It is of no state.", vec![kept(one.beat(), BASE)], NOTHING),
        restart(
            "earlier_full_one_first",
            "The later one takes its place.",
            vec![kept(&one, REPLACE), kept(Update::full(2, &valued("two")), REPLACE)],
            SERVED,
        ),
        restart(
            "later_full_one_first_fail",
            "The order in which they are read does not bring back an earlier one.",
            vec![
                kept(Update::full(2, &valued("two")), REPLACE),
                kept(&one, Fail("J2", "Refusal::StaleVersion")),
            ],
            SERVED,
        ),
        restart(
            "another_state_of_the_same_version_fail",
            "Two states were signed under one version.",
            vec![
                kept(&one, REPLACE),
                kept(Update::full(1, &valued("other")), Fail("J6", "Refusal::Equivocation")),
            ],
            SERVED,
        ),
        restart(
            "heartbeat_issued_earlier_fail",
            "It would make the state older.",
            vec![
                kept(&one, REPLACE),
                kept(one.beat().issued(T0 - 1), Fail("J7", "Refusal::IssuedBackwards")),
            ],
            SERVED,
        ),
    ]
}

fn floors() -> Vec<Story> {
    let two = Update::full(2, &valued("two"));
    let granted = Document::first().next().epoch(2).signed(&[ROOT_1]);
    let in_two = Update::full(1, &valued("epoch two")).epoch(2);
    vec![
        story("earlier_copy_of_the_cache_fail", "It verifies, and is older than what was accepted.")
            .takes(&two, REPLACE)
            .restarts(&[&trust()], [kept(first(), REPLACE)], FLOOR),
        story("earlier_copy_of_the_cache_and_then_news_fail", "The floor stays, whatever the cache was.")
            .takes(&two, REPLACE)
            .restarts(&[&trust()], [kept(first(), REPLACE)], FLOOR)
            .takes(first(), FLOOR)
            .takes(first().beat(), FLOOR)
            .takes(&two, REPLACE),
        story("cache_lost_and_then_older_news_fail", "The floor stays without a cache.")
            .takes(&two, REPLACE)
            .restarts(&[&trust()], [], NOTHING)
            .takes(first(), FLOOR)
            .takes(Update::full(2, &valued("another")).issued(T0 - 1), Fail("J7", "Refusal::IssuedBackwards"))
            .takes(Update::full(2, &valued("another")), REPLACE),
        story("cache_lost_and_then_an_increment_fail", "It has no base.")
            .restarts(&[&trust()], [], NOTHING)
            .takes(first().then(2, &Change::nothing()), BASE),
        story("cache_of_an_earlier_epoch_fail", "The epoch is compared first.")
            .trusts(&granted, Accept("follow"))
            .takes(&in_two, REPLACE)
            .restarts(&[&trust(), &granted], [kept(Update::full(900, &one()), REPLACE)], FLOOR),
        fresh("cache_above_the_floor", "It was kept just before a stop; the floor comes to it.").restarts(
            &[&trust()],
            [kept(&two, REPLACE)],
            SERVED,
        ),
        fresh("cache_above_the_floor_and_then_older_news_fail", "The floor has come to it.")
            .restarts(&[&trust()], [kept(&two, REPLACE)], SERVED)
            .restarts(&[&trust()], [], NOTHING)
            .takes(first(), FLOOR),
        story("times_of_a_lost_heartbeat_fail", "The newest time of issue is part of the floor.")
            .takes(first().beat().issued(T0 + 9), REFRESH)
            .restarts(&[&trust()], [kept(first(), REPLACE)], SERVED)
            .takes(first().beat().issued(T0 + 8), Fail("J7", "Refusal::IssuedBackwards"))
            .takes(first().beat().issued(T0 + 9), REFRESH),
    ]
}

fn lost_floors() -> Vec<Story> {
    let minutes = |count: u64| T0 + count * MINUTE;
    let held = first().expires(NEVER);
    let lost = |name: &str, about: &str, now: u64, updates: Vec<KeptUpdate>, verdict: Verdict| {
        story(name, about).at(now).restarts_without_floor(&[&trust()], updates, verdict)
    };
    let two = Update::full(2, &valued("two"));
    vec![
        lost(
            "floor_lost_and_a_recent_cache",
            "15 minutes are recent.",
            minutes(15),
            vec![kept(&held, REPLACE)],
            SERVED,
        ),
        lost(
            "floor_lost_and_an_older_cache_fail",
            "A millisecond more is not.",
            minutes(15) + 1,
            vec![kept(&held, LOST)],
            NOTHING,
        ),
        lost(
            "floor_lost_and_an_increment_fail",
            "Only a full update will do.",
            minutes(1),
            vec![kept(&held, REPLACE), kept(held.then(2, &Change::nothing()), LOST)],
            SERVED,
        ),
        lost(
            "floor_lost_and_a_heartbeat_fail",
            "Only a full update will do.",
            minutes(1),
            vec![kept(&held, REPLACE), kept(held.beat(), LOST)],
            SERVED,
        ),
        lost(
            "floor_lost_and_no_cache",
            "It stays lost until something sets another.",
            minutes(1),
            vec![],
            NOTHING,
        ),
        lost(
            "floor_lost_and_then_a_recent_one",
            "A recent full update sets another.",
            minutes(30),
            vec![],
            NOTHING,
        )
        .takes(two.clone().issued(minutes(15)), REPLACE),
        lost(
            "floor_lost_and_then_an_older_one_fail",
            "It might be from before.",
            minutes(30),
            vec![],
            NOTHING,
        )
        .takes(two.clone().issued(minutes(15) - 1), LOST),
        lost("floor_lost_and_then_one_ahead", "As far as an hour.", minutes(30), vec![], NOTHING)
            .takes(two.clone().issued(minutes(30) + HOUR), REPLACE),
        lost("floor_lost_and_then_an_increment_fail", "J4 comes before J5.", minutes(1), vec![], NOTHING)
            .takes(held.then(2, &Change::nothing()).issued(minutes(1)), LOST),
        lost("floor_lost_and_then_a_heartbeat_fail", "J4 comes before J5.", minutes(1), vec![], NOTHING)
            .takes(held.beat().issued(minutes(1)), LOST),
        lost(
            "floor_set_anew_counts_fail",
            "Below it nothing goes, even if it was accepted once.",
            minutes(1),
            vec![],
            NOTHING,
        )
        .takes(two.clone().issued(minutes(1)), REPLACE)
        .takes(first().issued(minutes(1)), Fail("J2", "Refusal::StaleVersion"))
        .restarts(&[&trust()], [], NOTHING)
        .takes(first().issued(minutes(1)), FLOOR),
    ]
}

fn lost_trust() -> Vec<Story> {
    let no_trust = Fail("no_trust", "Refused::NoTrust");
    let only_2 = Document::first().next().signers([signer(SIGNER_2)]).signed(&[ROOT_1]);
    let revoked = Update::full(9, &valued("by the revoked one"));
    vec![
        story(
            "revocation_lost_fail",
            "Under the earlier document nothing is verified: a revoked signer would count again.",
        )
        .revoked_by(&only_2)
        .restarts_short_of(&[&trust()])
        .takes(&revoked, no_trust)
        .takes(first().by(SIGNER_2), no_trust)
        .trusts(&trust(), UNCHANGED)
        .takes(&revoked, no_trust)
        .trusts(&only_2, Accept("follow"))
        .takes(&revoked, UNKNOWN)
        .takes(first().by(SIGNER_2), REPLACE),
        story("every_document_lost_fail", "The pin alone verifies nothing.")
            .revoked_by(&only_2)
            .restarts_short_of(&[])
            .takes(first(), no_trust)
            .trusts(&only_2, Fail("T1", "TrustError::PinMismatch")),
    ]
}
