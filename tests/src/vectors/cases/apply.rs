//! J1 to J7: what may follow what, and trust documents that come in between.

use super::offered;
use crate::vectors::build::{Accept, Fail, Story, Verdict};
use crate::vectors::document::{Document, signer, signer_for, signer_until, trust};
use crate::vectors::keys::{ROOT_1, SIGNER_1, SIGNER_2, SIGNER_3, sha256};
use crate::vectors::records::{Change, of_each, one as one_record, valued};
use crate::vectors::update::{NEVER, T0, Update, first};

const KIND: &str = "apply";
const STALE: Verdict = Fail("J2", "Refusal::StaleVersion");
const FLOOR: Verdict = Fail("J3", "Refusal::BelowFloor");
const BASE: Verdict = Fail("J5", "Refusal::WrongBase");
const EQUIVOCATION: Verdict = Fail("J6", "Refusal::Equivocation");
const BACKWARDS: Verdict = Fail("J7", "Refusal::IssuedBackwards");
const REPLACE: Verdict = Accept("replace");
const EXTEND: Verdict = Accept("extend");
const REFRESH: Verdict = Accept("refresh");
const UNCHANGED: Verdict = Accept("unchanged");

pub(super) fn cases() -> Vec<Story> {
    [orders(), rollbacks(), bases(), mixtures(), contradictions(), dates(), lineages(), revocations()]
        .into_iter()
        .flatten()
        .collect()
}

/// A host that holds version 1.
fn story(name: &str, about: &str) -> Story {
    offered(KIND, name, about, first(), REPLACE)
}

fn fresh(name: &str, about: &str) -> Story {
    Story::new(KIND, name, about).pins(&trust())
}

fn orders() -> Vec<Story> {
    let one = first();
    let two = one.then(2, &Change::nothing().env("env_2", "acme", "two"));
    let three = two.then(3, &valued("three").without("env", "env_2"));
    let seven = Update::full(7, &of_each());
    vec![
        fresh("first_full", "A full update needs no base.").takes(Update::full(42, &of_each()), REPLACE),
        story("full_of_a_higher_version", "It needs no base, and may skip versions.").takes(&seven, REPLACE),
        story("incremental_in_order", "Each on top of the one before.")
            .takes(&two, EXTEND)
            .takes(&three, EXTEND),
        story("incremental_that_skips_versions", "It leads to any higher version.")
            .takes(one.then(9, &valued("nine")), EXTEND),
        story("heartbeat", "Newer times, and nothing else.").takes(one.beat(), REFRESH),
        story("heartbeat_lost", "Heartbeats are no base, so a lost one breaks no chain.")
            .takes(one.beat().issued(T0 + 5), REFRESH)
            .takes(two.clone().issued(T0 + 6), EXTEND),
        story("heartbeat_of_an_incremental", "It is of the envelope that made the state.")
            .takes(&two, EXTEND)
            .takes(two.beat(), REFRESH),
        story("heartbeat_with_earlier_expiry", "The newest times count, also where they are shorter.")
            .takes(one.beat().expires(T0 + 9).served_until(T0 + 10), REFRESH)
            .timed(),
        story("same_bytes_again", "They are no news.").takes(&one, UNCHANGED),
        story("same_bytes_after_heartbeats", "Those of the held state are no news either.")
            .takes(one.beat(), REFRESH)
            .takes(one.beat().issued(T0 + 9), REFRESH)
            .takes(&one, UNCHANGED),
        story("same_heartbeat_again", "The last one accepted is no news.")
            .takes(one.beat(), REFRESH)
            .takes(one.beat(), UNCHANGED),
        story("same_increment_again", "It made the held state.").takes(&two, EXTEND).takes(&two, UNCHANGED),
        story("earlier_heartbeat_again_fail", "It is neither the last one nor that of the held state.")
            .takes(one.beat(), REFRESH)
            .takes(one.beat().issued(T0 + 9), REFRESH)
            .takes(one.beat(), BACKWARDS),
        story("refused_then_right_fail", "A refusal changes nothing.")
            .takes(&three, BASE)
            .takes(&two, EXTEND)
            .takes(&three, EXTEND),
        story("full_of_the_held_state", "The same state in another envelope takes its place.")
            .takes(first().issued(T0 + 1), REPLACE),
        story(
            "full_of_the_held_state_is_the_new_base_fail",
            "What was on top of the former envelope is so no more.",
        )
        .takes(first().issued(T0 + 1), REPLACE)
        .takes(one.beat().issued(T0 + 2), BASE)
        .takes(first().issued(T0 + 1).beat(), REFRESH),
        story("full_of_the_held_state_sealed_again", "Another salt is another envelope.")
            .takes(one.sealed_again(), REPLACE),
        story("full_after_increments", "It may say whole what was said in parts.")
            .takes(&two, EXTEND)
            .takes(Update::full(2, &one_record().env("env_2", "acme", "two")), REPLACE),
    ]
}

fn rollbacks() -> Vec<Story> {
    let one = first();
    let two = one.then(2, &valued("two"));
    let three = two.then(3, &valued("three"));
    let at_three = |name: &str, about: &str| story(name, about).takes(&two, EXTEND).takes(&three, EXTEND);
    vec![
        at_three("older_full_fail", "The very one that it began with.").takes(&one, STALE),
        at_three("older_full_issued_later_fail", "The version counts, not the time.")
            .takes(Update::full(2, &valued("two")).issued(T0 + 99), STALE),
        at_three("older_increment_fail", "It was accepted once.").takes(&two, STALE),
        at_three("older_heartbeat_fail", "It is of an earlier state.")
            .takes(two.beat().issued(T0 + 99), STALE),
        at_three(
            "another_increment_to_the_held_version_fail",
            "What it is on top of is gone, so it proves nothing: no alarm.",
        )
        .takes(two.then(3, &valued("another")), STALE),
        story(
            "increment_after_its_version_came_whole_fail",
            "No alarm: an honest publisher may send a version in two ways.",
        )
        .takes(Update::full(2, &valued("two")), REPLACE)
        .takes(&two, STALE),
        story("version_0_after_version_1_fail", "Lower is lower.")
            .takes(Update::full(0, &one_record()), STALE),
    ]
}

fn bases() -> Vec<Story> {
    let one = first();
    let two = one.then(2, &valued("two"));
    let three = two.then(3, &valued("three"));
    let beat = one.beat();
    vec![
        fresh("increment_without_state_fail", "It needs a base.").takes(&two, BASE),
        fresh("heartbeat_without_state_fail", "It needs a state.").takes(&beat, BASE),
        story("increment_dropped_fail", "Version 2 never came.").takes(&three, BASE),
        story("increments_swapped_fail", "3 comes before 2, and is offered again.")
            .takes(&three, BASE)
            .takes(&two, EXTEND)
            .takes(&two, UNCHANGED)
            .takes(&three, EXTEND),
        story("increment_on_a_heartbeat_fail", "A heartbeat makes no state.")
            .takes(&beat, REFRESH)
            .takes(one.then(2, &valued("two")).claims_base(1, &beat.digest()).issued(T0 + 9), BASE),
        story("heartbeat_on_a_heartbeat_fail", "A heartbeat makes no state.")
            .takes(&beat, REFRESH)
            .takes(one.beat().claims_base(1, &beat.digest()).issued(T0 + 9), BASE),
        story("heartbeat_of_a_version_to_come_fail", "It is of another state.").takes(two.beat(), BASE),
        story("heartbeat_of_another_envelope_fail", "The version is right, the digest is not.")
            .takes(one.beat().claims_base(1, &sha256(b"another")), BASE),
        story("increment_from_another_envelope_fail", "The version is right, the digest is not.")
            .takes(two.clone().claims_base(1, &sha256(b"another")), BASE),
        story("increment_from_another_version_fail", "The digest is right, the version is not.")
            .takes(two.clone().claims_base(0, &one.digest()), BASE),
        story("gap_closed_by_a_full_one_fail", "What a wrong base asks for.")
            .takes(&three, BASE)
            .takes(Update::full(3, &valued("three")), REPLACE),
    ]
}

/// Two publishers, or one and its backup: the same versions, other states.
fn mixtures() -> Vec<Story> {
    let (ours, theirs) = (first(), Update::full(1, &valued("theirs")).by(SIGNER_2));
    let their_two = theirs.then(2, &valued("their two"));
    vec![
        story("increment_of_another_lineage_fail", "It is on top of their version 1, not of ours.")
            .takes(&their_two, BASE),
        story("heartbeat_of_another_lineage_fail", "It is of their version 1, not of ours.")
            .takes(theirs.beat(), BASE),
        story("full_of_another_lineage", "A whole state of a higher version stands for itself.")
            .takes(Update::full(2, &valued("their two")).by(SIGNER_2), REPLACE)
            .takes(Update::full(2, &valued("their two")).by(SIGNER_2).beat(), REFRESH),
        story("back_and_forth_between_lineages_fail", "Ours is no base any more.")
            .takes(Update::full(2, &valued("their two")).by(SIGNER_2), REPLACE)
            .takes(ours.then(3, &valued("our three")), BASE),
        story("increment_in_another_epoch_fail", "The epoch is part of what it is on top of.")
            .trusts(&Document::first().next().epoch(2).signed(&[ROOT_1]), Accept("follow"))
            .takes(ours.then(2, &valued("two")).epoch(2), BASE),
        story("heartbeat_in_another_epoch_fail", "The epoch is part of what it is of.")
            .trusts(&Document::first().next().epoch(2).signed(&[ROOT_1]), Accept("follow"))
            .takes(ours.beat().epoch(2), BASE),
    ]
}

fn contradictions() -> Vec<Story> {
    let other = Update::full(1, &valued("other"));
    let both = one_record().env("env_2", "acme", "two");
    let delivered = |word: &str| {
        let member = format!("\"enabled\":true,\"deliver\":\"{word}\"");
        first().carrying(&one_record().text().replace("\"enabled\":true", &member))
    };
    let turned = Change::nothing().env("env_2", "acme", "two").env("env_1", "acme", "one");
    vec![
        story(
            "another_state_of_the_held_version_fail",
            "Two states were signed under one version: an alarm.",
        )
        .takes(&other, EQUIVOCATION),
        story("another_state_issued_earlier_fail", "An alarm, whatever its time: J6 comes before J7.")
            .takes(other.clone().issued(T0 - 1), EQUIVOCATION),
        story("another_state_by_another_signer_fail", "An alarm, whoever signed it.")
            .takes(other.clone().by(SIGNER_2), EQUIVOCATION),
        story("less_of_the_held_state_fail", "A record less is another state.")
            .takes(Update::full(1, &Change::nothing()), EQUIVOCATION),
        story("another_state_and_then_a_heartbeat_fail", "What is held goes on.")
            .takes(&other, EQUIVOCATION)
            .takes(first().beat(), REFRESH),
        fresh("same_state_in_another_order", "Records have no order.")
            .takes(Update::full(1, &both), REPLACE)
            .takes(Update::full(1, &turned), REPLACE),
        story("same_state_with_what_goes_without_saying", "A delivery as env is none that is written.")
            .takes(delivered("env"), REPLACE),
        story("another_delivery_of_the_held_version_fail", "How a variable is delivered is part of a state.")
            .takes(delivered("file"), EQUIVOCATION),
        story("another_state_after_increments_fail", "The state that parts have made counts.")
            .takes(first().then(2, &valued("two")), EXTEND)
            .takes(Update::full(2, &one_record()), EQUIVOCATION),
        story("no_payload_of_the_held_version_fail", "It is read before it is compared.")
            .takes(first().carrying("{}"), Fail("P1", "PayloadError::Malformed")),
        story("no_state_of_the_held_version_fail", "A state is made before it is compared.").takes(
            Update::full(1, &one_record().run("run_1", "sbx-1")),
            Fail("P5", "PayloadError::State(RunWithoutResource)"),
        ),
    ]
}

fn dates() -> Vec<Story> {
    let one = first();
    let early = T0 - 1;
    vec![
        story("full_issued_earlier_fail", "Time does not go back within an epoch.")
            .takes(Update::full(2, &valued("two")).issued(early), BACKWARDS),
        story("same_state_issued_earlier_fail", "It would make the held state older.")
            .takes(first().issued(early), BACKWARDS),
        story("increment_issued_earlier_fail", "Time does not go back within an epoch.")
            .takes(one.then(2, &valued("two")).issued(early), BACKWARDS),
        story("heartbeat_issued_earlier_fail", "It would make the held state older.")
            .takes(one.beat().issued(early), BACKWARDS),
        story("issued_before_a_heartbeat_fail", "The newest of all counts.")
            .takes(one.beat().issued(T0 + 9), REFRESH)
            .takes(one.then(2, &valued("two")).issued(T0 + 8), BACKWARDS),
        story("issued_at_the_same_time", "Not earlier is enough.")
            .takes(one.then(2, &valued("two")).issued(T0), EXTEND),
        story("another_heartbeat_of_the_same_time", "Not earlier is enough.")
            .takes(one.beat().issued(T0).expires(NEVER - 1), REFRESH),
        story("time_is_looked_at_before_the_payload_fail", "Issued earlier, with a payload that is none.")
            .takes(one.then(2, &Change::nothing()).carrying("{}").issued(early), BACKWARDS),
        story("base_is_looked_at_before_the_time_fail", "Of another state, and issued earlier.")
            .takes(one.beat().claims_base(1, &sha256(b"another")).issued(early), BASE),
    ]
}

fn lineages() -> Vec<Story> {
    let granted = Document::first().next().epoch(2).signed(&[ROOT_1]);
    let drops_signer_1 = Document::first().next().epoch(2).signers([signer(SIGNER_2)]).signed(&[ROOT_1]);
    let keeps_epoch = Document::first().next().signers([signer(SIGNER_2)]).signed(&[ROOT_1]);
    let last = Update::full(NEVER, &valued("last")).issued(T0 + 60_000);
    let in_two = |version| Update::full(version, &valued("epoch two")).epoch(2);
    vec![
        story("higher_epoch_with_a_lower_version", "Versions start anew.")
            .trusts(&granted, Accept("follow"))
            .takes(in_two(0), REPLACE),
        story("higher_epoch_issued_earlier", "Times start anew.")
            .trusts(&granted, Accept("follow"))
            .takes(in_two(1).issued(T0 - 9), REPLACE)
            .takes(in_two(1).issued(T0 - 9).beat(), REFRESH),
        story("lower_epoch_with_a_higher_version_fail", "No way back.")
            .trusts(&granted, Accept("follow"))
            .takes(in_two(1), REPLACE)
            .takes(Update::full(900, &valued("epoch one")), STALE),
        story("increment_in_a_lower_epoch_fail", "No way back, on top of nothing that is held.")
            .trusts(&granted, Accept("follow"))
            .takes(in_two(1), REPLACE)
            .takes(first().then(2, &valued("epoch one")), STALE),
        story("heartbeat_in_a_lower_epoch_fail", "No way back.")
            .trusts(&granted, Accept("follow"))
            .takes(in_two(1), REPLACE)
            .takes(first().beat(), STALE),
        story("held_epoch_goes_on_below_the_granted_one", "Granting is not asking.")
            .trusts(&granted, Accept("follow"))
            .takes(Update::full(2, &valued("two")), REPLACE),
        story("nothing_follows_the_last_version_fail", "Who has used up the versions has ended the epoch.")
            .takes(&last, REPLACE)
            .takes(Update::full(NEVER - 1, &valued("x")).issued(T0 + 60_000), STALE)
            .takes(Update::full(NEVER, &valued("x")).issued(T0 + 60_000), EQUIVOCATION)
            .takes(last.beat(), REFRESH),
        story(
            "higher_epoch_ends_a_fast_forward",
            "Roots drop the signer and grant an epoch: all of it ends at once.",
        )
        .takes(&last, REPLACE)
        .revoked_by(&drops_signer_1)
        .takes(in_two(1).by(SIGNER_2), REPLACE),
        story(
            "dropping_the_signer_alone_ends_no_fast_forward_fail",
            "The floor stays where the stolen key put it.",
        )
        .takes(&last, REPLACE)
        .revoked_by(&keeps_epoch)
        .takes(Update::full(2, &valued("two")).by(SIGNER_2).issued(T0 + 60_000), FLOOR),
        story(
            "dates_ahead_outlast_their_signer_fail",
            "J7 holds within the epoch, after the revocation as well.",
        )
        .takes(Update::full(2, &valued("ahead")).issued(T0 + 60_000), REPLACE)
        .revoked_by(&keeps_epoch)
        .takes(Update::full(3, &valued("three")).by(SIGNER_2).issued(T0 + 59_999), BACKWARDS)
        .takes(Update::full(3, &valued("three")).by(SIGNER_2).issued(T0 + 60_000), REPLACE),
    ]
}

/// The signer of what is held loses its voice.
fn revocations() -> Vec<Story> {
    let next = Document::first().next();
    let only_2 = next.clone().signers([signer(SIGNER_2)]).signed(&[ROOT_1]);
    let only_1 = next.clone().signers([signer(SIGNER_1)]).signed(&[ROOT_1]);
    let one = first();
    let two = one.then(2, &valued("two"));
    let both = Update::full(1, &one_record().env("env_2", "globex", "two"));
    let by_2 = |update: Update| update.by(SIGNER_2);
    let cut_short =
        |at| next.clone().signers([signer_until(SIGNER_1, at), signer(SIGNER_2)]).signed(&[ROOT_1]);
    let scoped = |tenants: &[&str]| {
        next.clone().signers([signer_for(SIGNER_1, tenants), signer(SIGNER_2)]).signed(&[ROOT_1])
    };
    vec![
        story("signer_revoked", "What it signed is held and not served.").revoked_by(&only_2),
        story("revoked_signer_speaks_again_fail", "Its key counts no more.")
            .revoked_by(&only_2)
            .takes(one.beat(), Fail("U3", "OpenError::UnknownSigner"))
            .takes(&one, Fail("U3", "OpenError::UnknownSigner")),
        story("heartbeat_for_a_revoked_state_fail", "It is no base for anything.")
            .revoked_by(&only_2)
            .takes(by_2(one.beat()), BASE),
        story("increment_on_a_revoked_state_fail", "It is no base for anything.")
            .revoked_by(&only_2)
            .takes(by_2(two.clone()), BASE),
        story(
            "full_after_a_revocation",
            "By another signer, of the same version and another state: no contradiction.",
        )
        .revoked_by(&only_2)
        .takes(by_2(Update::full(1, &valued("by the next"))), REPLACE),
        story("older_full_after_a_revocation_fail", "The floor stays.")
            .takes(&two, EXTEND)
            .revoked_by(&only_2)
            .takes(by_2(Update::full(1, &one_record())), FLOOR)
            .takes(by_2(Update::full(2, &one_record())), REPLACE),
        story("signer_of_an_increment_revoked", "The state rests on it as well.")
            .takes(by_2(two.clone()), EXTEND)
            .revoked_by(&only_1),
        story("signer_of_the_base_revoked", "The state rests on it as well.")
            .takes(by_2(two.clone()), EXTEND)
            .revoked_by(&only_2),
        story("signer_of_the_last_heartbeat_revoked", "The times rest on it.")
            .takes(by_2(one.beat()), REFRESH)
            .revoked_by(&only_1),
        story("signer_of_an_earlier_heartbeat_revoked", "Nothing rests on it any more.")
            .takes(by_2(one.beat()), REFRESH)
            .takes(one.beat().issued(T0 + 2), REFRESH)
            .trusts(&only_1, Accept("follow")),
        story("signer_of_an_earlier_full_one_revoked", "Nothing rests on it any more.")
            .takes(by_2(Update::full(2, &valued("two"))), REPLACE)
            .trusts(&only_2, Accept("follow")),
        story("another_signer_added", "Nothing changes for what is held.")
            .trusts(
                &next.clone().signers([signer(SIGNER_1), signer(SIGNER_3)]).signed(&[ROOT_1]),
                Accept("follow"),
            )
            .takes(one.beat().by(SIGNER_3), REFRESH),
        story("signer_cut_short_before_it_signed", "It had no voice when it spoke.")
            .revoked_by(&cut_short(T0 - 1)),
        story("signer_cut_short_after_it_signed", "It had a voice when it spoke.")
            .trusts(&cut_short(T0), Accept("follow")),
        story("signer_for_others_now", "It may not speak for this tenant any more.")
            .revoked_by(&scoped(&["globex"])),
        story("signer_for_fewer_now", "It may still speak for this tenant.")
            .trusts(&scoped(&["acme"]), Accept("follow")),
        fresh("signer_for_fewer_than_it_spoke_for", "A tenant that is gone from the state counts too.")
            .takes(&both, REPLACE)
            .takes(both.then(2, &Change::nothing().without("env", "env_2")), EXTEND)
            .revoked_by(&scoped(&["acme"])),
        story("signer_of_an_increment_for_fewer_now", "It speaks for the whole state.")
            .takes(by_2(two.clone()), EXTEND)
            .revoked_by(
                &next
                    .clone()
                    .signers([signer(SIGNER_1), signer_for(SIGNER_2, &["globex"])])
                    .signed(&[ROOT_1]),
            ),
        story(
            "revoked_signer_listed_again",
            "What is held stands as soon as the document that counts lets it.",
        )
        .revoked_by(&only_2)
        .reinstated_by(&next.next().signed(&[ROOT_1]))
        .takes(one.beat(), REFRESH),
        story("revoked_by_the_second_of_two_documents", "The one that counts decides.")
            .trusts(&next.signed(&[ROOT_1]), Accept("follow"))
            .revoked_by(&next.next().signers([signer(SIGNER_2)]).signed(&[ROOT_1])),
        story(
            "trust_has_expired_since_fail",
            "What is held stays; nothing new is accepted until a document follows.",
        )
        .trusts(&next.clone().expires(0).signed(&[ROOT_1]), Accept("follow"))
        .takes(one.beat(), Fail("U10", "OpenError::TrustExpired"))
        .trusts(&next.next().signed(&[ROOT_1]), Accept("follow"))
        .takes(one.beat(), REFRESH),
    ]
}
