//! Answers built once for each resource, run and content. They live and die with the content they
//! were built from, so an answer can never outlast its state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use hyper::header::HeaderValue;
use miosa_injector::model::{Resource, ResourceId, RunId, TenantId};
use miosa_injector::{Answer, Moving, Resolution, ResolveError, State, resolve};
use ring::digest::{Context, SHA256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::access::{self, Tally};

/// The answers of one content. The resources are fixed, so no lock is shared between two of them, and
/// each has a share of the memory: whoever asks for very many or very large ones has them built again
/// and again, and nobody else's are let go for that.
pub(super) struct Answers {
    of: BTreeMap<ResourceId, OfResource>,
    /// In bytes, for the answers of one resource together.
    share: usize,
    epoch: u64,
    version: u64,
}

/// The answers of one resource.
struct OfResource {
    tenant: TenantId,
    /// Whether it may take long to build one: then that is nothing for the thread that serves all.
    is_heavy: bool,
    /// One of a heavy resource's is built at a time.
    building: Arc<Semaphore>,
    /// So many of a heavy resource's are held, by who has not read them yet too.
    held: Arc<Semaphore>,
    kept: Mutex<KeptAnswers>,
}

/// An unknown run is not kept, so this is bounded by the state.
#[derive(Default)]
struct KeptAnswers {
    /// By run; none for the resource itself.
    answers: BTreeMap<Option<RunId>, Kept>,
    /// How many bytes those take that are kept.
    bytes: usize,
    /// The explanation that was asked for last, and of which run.
    explained: Option<(Option<RunId>, Bytes)>,
}

/// A place among the answers of a heavy resource that are held; one that is not heavy needs none.
struct Place(Option<OwnedSemaphorePermit>);

/// A heavy resource's turn to build. It ends when the building does, be there still somebody who asks
/// or not: who asks and hangs up would have any number built at a time.
pub(crate) struct Turn {
    place: Place,
    _building: OwnedSemaphorePermit,
}

/// Who asks for what: a resource on behalf of its tenant, or of a run on it.
#[derive(Clone, Copy)]
pub(crate) struct Asks<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) resource: &'a ResourceId,
    pub(crate) run: Option<&'a RunId>,
}

/// What is known of an answer that was asked for.
enum Kept {
    Answer(Arc<Built>),
    /// There was no room for it; it is counted as one all the same.
    Counts(Arc<Tally>),
    Error(ResolveError),
}

/// A built answer. Its bytes are held once: a body is made of references to them.
pub(crate) struct Built {
    answer: Arc<Held>,
    /// What stands before and after the moving fields, `[before, after]`.
    content: [Bytes; 2],
    etag: HeaderValue,
    /// The moving fields as they were last sent: within one second all of them are the same.
    moved: Mutex<Option<(Moving, Bytes)>>,
    /// How often it was asked for, and by whom.
    tally: Arc<Tally>,
}

/// An answer, and its place among those of a heavy resource, for as long as anybody has it.
struct Held {
    answer: Answer,
    place: Place,
}

/// One of the parts of an answer's content, as something that [`Bytes`] can refer to.
struct Part(Arc<Held>, PartOf);

/// An explanation, and its place.
struct Explained(Vec<u8>, #[expect(dead_code, reason = "held, and given back")] Place);

enum PartOf {
    Before,
    After,
}

impl Answers {
    /// None yet, for the state of this epoch and version.
    pub(super) fn of_state(state: &State, epoch: u64, version: u64) -> Self {
        let weights = state.weights();
        let of = |(id, resource): (&ResourceId, &Resource)| {
            let is_heavy = weights.get(id).is_some_and(|weight| *weight > LIGHT);
            (id.clone(), OfResource::new(resource.tenant_id.clone(), is_heavy))
        };
        let of: BTreeMap<_, _> = state.records().resources.iter().map(of).collect();
        let share = ALL_TOGETHER.checked_div(of.len()).unwrap_or(ALL_TOGETHER);
        Self { of, share: share.clamp(LEAST, MOST), epoch, version }
    }

    /// The answer, if that takes no time worth speaking of.
    pub(super) fn at_once(&self, state: &State, asks: Asks<'_>) -> Result<Option<Arc<Built>>, ResolveError> {
        let of = self.of(asks)?;
        match of.known(asks.run)? {
            None if !of.is_heavy => self.build(of, state, asks, Place(None)).map(Some),
            known => Ok(known),
        }
    }

    /// The explanation, as JSON, if that takes no time worth speaking of.
    pub(super) fn explained_at_once(
        &self,
        state: &State,
        asks: Asks<'_>,
    ) -> Result<Option<Bytes>, ResolveError> {
        let of = self.of(asks)?;
        match of.explained(asks.run) {
            None if !of.is_heavy => self.explain(of, state, asks, Place(None)).map(Some),
            known => Ok(known),
        }
    }

    /// Waits until this resource may build one more; `None`: it is not there.
    pub(super) async fn turn(&self, asks: Asks<'_>) -> Option<Turn> {
        let of = self.of(asks).ok()?;
        // Neither is ever closed.
        let place = Arc::clone(&of.held).acquire_owned().await.ok()?;
        let building = Arc::clone(&of.building).acquire_owned().await.ok()?;
        Some(Turn { place: Place(Some(place)), _building: building })
    }

    /// The answer, however long that takes.
    pub(super) fn in_turn(
        &self,
        state: &State,
        asks: Asks<'_>,
        turn: Turn,
    ) -> Result<Arc<Built>, ResolveError> {
        let of = self.of(asks)?;
        match of.known(asks.run)? {
            Some(built) => Ok(built),
            None => self.build(of, state, asks, turn.place),
        }
    }

    /// The explanation, as JSON, however long that takes.
    pub(super) fn explained_in_turn(
        &self,
        state: &State,
        asks: Asks<'_>,
        turn: Turn,
    ) -> Result<Bytes, ResolveError> {
        let of = self.of(asks)?;
        match of.explained(asks.run) {
            Some(explained) => Ok(explained),
            None => self.explain(of, state, asks, turn.place),
        }
    }

    fn build(
        &self,
        of: &OfResource,
        state: &State,
        asks: Asks<'_>,
        place: Place,
    ) -> Result<Arc<Built>, ResolveError> {
        let key = asks.run.cloned();
        let resolved = resolve(state, asks.resource, asks.run);
        let mut kept = lock(&of.kept);
        match resolved {
            Ok(resolution) => {
                let tally = match kept.answers.get(&key) {
                    Some(Kept::Counts(tally)) => Some(Arc::clone(tally)),
                    Some(Kept::Answer(_) | Kept::Error(_)) | None => None,
                };
                let built = Arc::new(Built::new(&resolution, (self.epoch, self.version), tally, place));
                kept.keep(key, &built, self.share);
                Ok(built)
            }
            Err(error) => {
                if !matches!(error, ResolveError::RunNotFound { .. }) {
                    kept.answers.insert(key, Kept::Error(error.clone()));
                }
                Err(error)
            }
        }
    }

    /// Who asks for it again and again has it made once, if it is of the usual size.
    fn explain(
        &self,
        of: &OfResource,
        state: &State,
        asks: Asks<'_>,
        place: Place,
    ) -> Result<Bytes, ResolveError> {
        let explanation = resolve(state, asks.resource, asks.run)?.explain(self.version);
        // Only a map with keys that are no strings could fail, and an explanation has none.
        let explanation = serde_json::to_vec(&explanation).unwrap_or_default();
        let is_usual = explanation.len() <= self.share;
        let explanation = Bytes::from_owner(Explained(explanation, place));
        if is_usual {
            lock(&of.kept).explained = Some((asks.run.cloned(), explanation.clone()));
        }
        Ok(explanation)
    }

    /// What an id's former tenant asks for is not there.
    fn of(&self, asks: Asks<'_>) -> Result<&OfResource, ResolveError> {
        let of = self.of.get(asks.resource).filter(|of| of.tenant == *asks.tenant);
        of.ok_or_else(|| ResolveError::ResourceNotFound(asks.resource.clone()))
    }
}

impl OfResource {
    fn new(tenant: TenantId, is_heavy: bool) -> Self {
        let building = Arc::new(Semaphore::new(1));
        let held = Arc::new(Semaphore::new(HELD));
        Self { tenant, is_heavy, building, held, kept: Mutex::default() }
    }

    fn known(&self, run: Option<&RunId>) -> Result<Option<Arc<Built>>, ResolveError> {
        match lock(&self.kept).answers.get(&run.cloned()) {
            Some(Kept::Answer(built)) => Ok(Some(Arc::clone(built))),
            Some(Kept::Error(error)) => Err(error.clone()),
            Some(Kept::Counts(_)) | None => Ok(None),
        }
    }

    fn explained(&self, run: Option<&RunId>) -> Option<Bytes> {
        let kept = lock(&self.kept);
        let (of_run, explanation) = kept.explained.as_ref()?;
        (of_run.as_ref() == run).then(|| explanation.clone())
    }
}

impl KeptAnswers {
    /// Keeps an answer, in the place of all others if it takes that.
    fn keep(&mut self, key: Option<RunId>, built: &Arc<Built>, share: usize) {
        let size = built.size();
        // Of a heavy resource one is kept, so that there are places left to build others.
        if built.is_heavy() || self.bytes.saturating_add(size) > share {
            for kept in self.answers.values_mut() {
                if let Kept::Answer(other) = kept {
                    *kept = Kept::Counts(Arc::clone(&other.tally));
                }
            }
            self.bytes = 0;
        }
        let kept = if size > share {
            Kept::Counts(Arc::clone(&built.tally))
        } else {
            self.bytes = self.bytes.saturating_add(size);
            Kept::Answer(Arc::clone(built))
        };
        self.answers.insert(key, kept);
    }
}

impl Built {
    /// The answer that says so, of the state `of`; counted by `tally`, if that content was asked for before.
    fn new(resolution: &Resolution, of: (u64, u64), tally: Option<Arc<Tally>>, place: Place) -> Self {
        let answer = resolution.answer();
        let mut context = Context::new(&SHA256);
        for part in answer.content() {
            context.update(part);
        }
        let digest = HEXLOWER.encode(context.finish().as_ref());
        // Hexadecimal digits in quotes are always a header's value.
        let etag = HeaderValue::try_from(format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        let answer = Arc::new(Held { answer, place });
        let content =
            [PartOf::Before, PartOf::After].map(|part| Bytes::from_owner(Part(Arc::clone(&answer), part)));
        let tally =
            tally.unwrap_or_else(|| Arc::new(Tally::of_content(access::Content::new(resolution, &etag, of))));
        Self { answer, content, etag, moved: Mutex::new(None), tally }
    }

    fn is_heavy(&self) -> bool {
        self.answer.place.0.is_some()
    }

    /// In bytes.
    fn size(&self) -> usize {
        self.content.iter().map(Bytes::len).fold(0, usize::saturating_add)
    }

    /// Names the content: equal for equal content, across versions and restarts.
    pub(crate) fn etag(&self) -> &HeaderValue {
        &self.etag
    }

    /// What the access log counts it by.
    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// The body with these moving fields, in three pieces.
    pub(crate) fn body(&self, moving: Moving) -> [Bytes; 3] {
        let [before, after] = self.content.clone();
        [before, self.moved(moving), after]
    }

    fn moved(&self, moving: Moving) -> Bytes {
        let mut moved = lock(&self.moved);
        if let Some((_, bytes)) = moved.as_ref().filter(|(sent, _)| *sent == moving) {
            return bytes.clone();
        }
        let whole = self.answer.answer.body(moving);
        let [before, after] = self.answer.answer.content();
        let middle = whole.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        let bytes = Bytes::copy_from_slice(middle.unwrap_or_default());
        *moved = Some((moving, bytes.clone()));
        bytes
    }
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        let [before, after] = self.0.answer.content();
        match self.1 {
            PartOf::Before => before,
            PartOf::After => after,
        }
    }
}

impl AsRef<[u8]> for Explained {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A panic while one of these locks was held left nothing half done: each guards single assignments.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What can be started with so many bytes of names and values is resolved within a millisecond.
const LIGHT: usize = 64 * 1024;

/// One answer and one explanation that are kept, one more of either that is read, and one that is built.
const HELD: usize = 4;

/// What the answers of all resources may take, in bytes, where the least share of each allows it.
const ALL_TOGETHER: usize = 256 * 1024 * 1024;

/// Some sixteen answers of the usual size.
const LEAST: usize = 64 * 1024;

/// The largest answer there is, for several runs at a time.
const MOST: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use miosa_injector::State;

    use super::*;
    use crate::publisher::{resources, run};

    fn state(value: &str) -> State {
        let mut records = resources(&[("sbx-1", "t1", value), ("sbx-2", "t1", "other")]);
        let run = run("run_1", "sbx-1");
        records.runs.insert(run.id.clone(), run);
        State::new(records).unwrap()
    }

    fn answers(state: &State) -> Answers {
        Answers::of_state(state, 1, 7)
    }

    fn build(
        answers: &Answers,
        state: &State,
        resource: &ResourceId,
        run: Option<&RunId>,
    ) -> Result<Arc<Built>, ResolveError> {
        let tenant = "t1".parse().unwrap();
        answers.at_once(state, Asks { tenant: &tenant, resource, run }).map(Option::unwrap)
    }

    #[test]
    fn the_pieces_are_the_whole_body_whatever_moves() {
        let (id, state) = ("sbx-1".parse().unwrap(), state("hello"));
        let built = build(&answers(&state), &state, &id, None).unwrap();
        let expected = resolve(&state, &id, None).unwrap().answer();
        for age_seconds in [0, 1, 1, 100_000] {
            let moving = Moving { snapshot_version: 7, stale: age_seconds > 1, age_seconds };
            assert_eq!(built.body(moving).concat(), *expected.body(moving));
        }
    }

    #[test]
    fn an_answer_is_built_once_for_each_resource_and_run() {
        let (id, run_id, state) = ("sbx-1".parse().unwrap(), "run_1".parse().unwrap(), state("hello"));
        let answers = answers(&state);
        let build = |run: Option<&RunId>| build(&answers, &state, &id, run).unwrap();
        assert!(Arc::ptr_eq(&build(None), &build(None)));
        assert!(Arc::ptr_eq(&build(Some(&run_id)), &build(Some(&run_id))));
        assert!(!Arc::ptr_eq(&build(None), &build(Some(&run_id))));
    }

    #[test]
    fn the_etag_follows_the_content() {
        let id = "sbx-1".parse().unwrap();
        let etag = |state: &State| build(&answers(state), state, &id, None).unwrap().etag().clone();
        assert_eq!(etag(&state("hello")), etag(&state("hello")));
        assert_ne!(etag(&state("hello")), etag(&state("changed")));
    }

    #[test]
    fn what_there_is_no_room_for_is_built_anew_and_counted_as_one() {
        let (id, other, run_id) =
            ("sbx-1".parse().unwrap(), "sbx-2".parse().unwrap(), "run_1".parse().unwrap());
        let state = state(&"x".repeat(1_000));
        let mut answers = answers(&state);
        let size = build(&answers, &state, &id, None).unwrap().size();
        let build = |answers: &Answers, id: &ResourceId, run: Option<&RunId>| {
            super::tests::build(answers, &state, id, run).unwrap()
        };
        for share in [size - 1, size + 100] {
            answers.share = share;
            let kept = build(&answers, &other, None);
            let (first, run) = (build(&answers, &id, None), build(&answers, &id, Some(&run_id)));
            let again = build(&answers, &id, None);
            assert!(!Arc::ptr_eq(&first, &again), "{share}: the run's took its place");
            assert_eq!(first.body(MOVING), again.body(MOVING));
            assert!(Arc::ptr_eq(first.tally(), again.tally()));
            assert!(Arc::ptr_eq(run.tally(), build(&answers, &id, Some(&run_id)).tally()));
            assert!(lock(&answers.of[&id].kept).bytes <= share);
            assert!(Arc::ptr_eq(&kept, &build(&answers, &other, None)), "another resource's stays");
        }
    }

    const MOVING: Moving = Moving { snapshot_version: 7, stale: false, age_seconds: 1 };

    #[test]
    fn a_former_tenant_of_an_id_finds_nothing() {
        let (id, state) = ("sbx-1".parse().unwrap(), state("hello"));
        let (answers, tenant) = (answers(&state), "t2".parse().unwrap());
        let asks = Asks { tenant: &tenant, resource: &id, run: None };
        assert!(matches!(answers.at_once(&state, asks), Err(ResolveError::ResourceNotFound(_))));
        assert!(matches!(answers.explained_at_once(&state, asks), Err(ResolveError::ResourceNotFound(_))));
    }

    #[tokio::test]
    async fn what_may_take_long_is_built_in_turn_and_few_of_it_are_held() {
        let (id, run_id, tenant) =
            ("sbx-1".parse().unwrap(), "run_1".parse().unwrap(), "t1".parse().unwrap());
        let state = state(&"x".repeat(LIGHT));
        let answers = answers(&state);
        let asks = |run| Asks { tenant: &tenant, resource: &id, run };
        assert!(answers.at_once(&state, asks(None)).unwrap().is_none());
        assert!(answers.explained_at_once(&state, asks(None)).unwrap().is_none());
        let mut read = Vec::new();
        for number in 0..HELD {
            let run = (number % 2 == 0).then_some(&run_id);
            let turn = answers.turn(asks(run)).await.unwrap();
            read.push(answers.in_turn(&state, asks(run), turn).unwrap().body(MOVING));
        }
        let waits = tokio::time::timeout(std::time::Duration::ZERO, answers.turn(asks(None)));
        assert!(waits.await.is_err(), "as many are held as may be");
        read.pop();
        read.pop();
        // The last one is kept, the one before it is gone with who read it.
        assert!(answers.turn(asks(None)).await.is_some());
        assert!(answers.at_once(&state, asks(None)).unwrap().is_some());
    }

    #[test]
    fn unknown_runs_take_no_room() {
        let (id, state) = ("sbx-1".parse().unwrap(), state("hello"));
        let answers = answers(&state);
        for number in 0..100 {
            let run = format!("run_of_nobody_{number}").parse().unwrap();
            assert!(build(&answers, &state, &id, Some(&run)).is_err());
        }
        assert!(lock(&answers.of[&id].kept).answers.is_empty());
    }
}
