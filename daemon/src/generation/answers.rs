//! Answers built once for each resource, run and content. They live and die with the content they
//! were built from, so an answer can never outlast its state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use hyper::header::HeaderValue;
use miosa_injector::model::{ResourceId, RunId};
use miosa_injector::{Answer, Moving, Resolution, ResolveError, State, resolve};
use ring::digest::{Context, SHA256};

use crate::access::{self, Tally};

/// The answers of one content. The resources are fixed, so no lock is shared between two of them, and
/// each has a share of the memory: whoever asks for very many or very large ones has them built again
/// and again, out of its own turn, and nobody else's are let go for that.
pub(super) struct Answers {
    of: BTreeMap<ResourceId, Mutex<OfResource>>,
    /// In bytes, for the answers of one resource together.
    share: usize,
    epoch: u64,
    version: u64,
}

/// An unknown run is not kept, so this is bounded by the state.
#[derive(Default)]
struct OfResource {
    /// By run; none for the resource itself.
    answers: BTreeMap<Option<RunId>, Kept>,
    /// How many bytes those take that are kept.
    bytes: usize,
    /// The explanation that was asked for last, and of which run.
    explained: Option<(Option<RunId>, Bytes)>,
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
    answer: Arc<Answer>,
    /// What stands before and after the moving fields, `[before, after]`.
    content: [Bytes; 2],
    etag: HeaderValue,
    /// The moving fields as they were last sent: within one second all of them are the same.
    moved: Mutex<Option<(Moving, Bytes)>>,
    /// How often it was asked for, and by whom.
    tally: Arc<Tally>,
}

/// One of the parts of an answer's content, as something that [`Bytes`] can refer to.
struct Part(Arc<Answer>, PartOf);

enum PartOf {
    Before,
    After,
}

impl Answers {
    /// None yet, for the state of this epoch and version.
    pub(super) fn for_resources<'a>(
        ids: impl Iterator<Item = &'a ResourceId>,
        epoch: u64,
        version: u64,
    ) -> Self {
        let of: BTreeMap<_, _> = ids.map(|id| (id.clone(), Mutex::default())).collect();
        let share = ALL_TOGETHER.checked_div(of.len()).unwrap_or(ALL_TOGETHER);
        Self { of, share: share.clamp(LEAST, MOST), epoch, version }
    }

    pub(super) fn get_or_build(
        &self,
        state: &State,
        resource: &ResourceId,
        run: Option<&RunId>,
    ) -> Result<Arc<Built>, ResolveError> {
        let mut of = self.of(resource)?;
        let key = run.cloned();
        let tally = match of.answers.get(&key) {
            Some(Kept::Answer(built)) => return Ok(Arc::clone(built)),
            Some(Kept::Error(error)) => return Err(error.clone()),
            Some(Kept::Counts(tally)) => Some(Arc::clone(tally)),
            None => None,
        };
        match resolve(state, resource, run) {
            Ok(resolution) => {
                let built = Arc::new(Built::new(&resolution, (self.epoch, self.version), tally));
                of.keep(key, &built, self.share);
                Ok(built)
            }
            Err(error) => {
                if !matches!(error, ResolveError::RunNotFound { .. }) {
                    of.answers.insert(key, Kept::Error(error.clone()));
                }
                Err(error)
            }
        }
    }

    /// The explanation as JSON. Who asks for it again and again has it made once.
    pub(super) fn get_or_explain(
        &self,
        state: &State,
        resource: &ResourceId,
        run: Option<&RunId>,
    ) -> Result<Bytes, ResolveError> {
        let mut of = self.of(resource)?;
        if let Some((of_run, explanation)) = &of.explained
            && of_run.as_ref() == run
        {
            return Ok(explanation.clone());
        }
        let explanation = resolve(state, resource, run)?.explain(self.version);
        // Only a map with keys that are no strings could fail, and an explanation has none.
        let explanation = Bytes::from(serde_json::to_vec(&explanation).unwrap_or_default());
        of.explained = Some((run.cloned(), explanation.clone()));
        Ok(explanation)
    }

    fn of(&self, resource: &ResourceId) -> Result<MutexGuard<'_, OfResource>, ResolveError> {
        let of = self.of.get(resource).ok_or_else(|| ResolveError::ResourceNotFound(resource.clone()))?;
        Ok(lock(of))
    }
}

impl OfResource {
    /// Keeps an answer, in the place of all others if it takes that.
    fn keep(&mut self, key: Option<RunId>, built: &Arc<Built>, share: usize) {
        let size = built.size();
        if self.bytes.saturating_add(size) > share {
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
    /// The answer that says so; counted by `tally`, if that content was asked for before.
    fn new(resolution: &Resolution, place: (u64, u64), tally: Option<Arc<Tally>>) -> Self {
        let answer = resolution.answer();
        let mut context = Context::new(&SHA256);
        for part in answer.content() {
            context.update(part);
        }
        let digest = HEXLOWER.encode(context.finish().as_ref());
        // Hexadecimal digits in quotes are always a header's value.
        let etag = HeaderValue::try_from(format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        let answer = Arc::new(answer);
        let content =
            [PartOf::Before, PartOf::After].map(|part| Bytes::from_owner(Part(Arc::clone(&answer), part)));
        let tally = tally
            .unwrap_or_else(|| Arc::new(Tally::of_content(access::Content::new(resolution, &etag, place))));
        Self { answer, content, etag, moved: Mutex::new(None), tally }
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
        let whole = self.answer.body(moving);
        let [before, after] = self.answer.content();
        let middle = whole.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        let bytes = Bytes::copy_from_slice(middle.unwrap_or_default());
        *moved = Some((moving, bytes.clone()));
        bytes
    }
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        let [before, after] = self.0.content();
        match self.1 {
            PartOf::Before => before,
            PartOf::After => after,
        }
    }
}

/// A panic while one of these locks was held left nothing half done: each guards single assignments.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

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
        Answers::for_resources(state.records().resources.keys(), 1, 7)
    }

    #[test]
    fn the_pieces_are_the_whole_body_whatever_moves() {
        let (id, state) = ("sbx-1".parse().unwrap(), state("hello"));
        let built = answers(&state).get_or_build(&state, &id, None).unwrap();
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
        let build = |run: Option<&RunId>| answers.get_or_build(&state, &id, run).unwrap();
        assert!(Arc::ptr_eq(&build(None), &build(None)));
        assert!(Arc::ptr_eq(&build(Some(&run_id)), &build(Some(&run_id))));
        assert!(!Arc::ptr_eq(&build(None), &build(Some(&run_id))));
    }

    #[test]
    fn the_etag_follows_the_content() {
        let id = "sbx-1".parse().unwrap();
        let etag = |state: &State| answers(state).get_or_build(state, &id, None).unwrap().etag().clone();
        assert_eq!(etag(&state("hello")), etag(&state("hello")));
        assert_ne!(etag(&state("hello")), etag(&state("changed")));
    }

    #[test]
    fn what_there_is_no_room_for_is_built_anew_and_counted_as_one() {
        let (id, other, run_id) =
            ("sbx-1".parse().unwrap(), "sbx-2".parse().unwrap(), "run_1".parse().unwrap());
        let state = state(&"x".repeat(1_000));
        let mut answers = answers(&state);
        let size = answers.get_or_build(&state, &id, None).unwrap().size();
        let build = |answers: &Answers, id: &ResourceId, run: Option<&RunId>| {
            answers.get_or_build(&state, id, run).unwrap()
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
            assert!(lock(&answers.of[&id]).bytes <= share);
            assert!(Arc::ptr_eq(&kept, &build(&answers, &other, None)), "another resource's stays");
        }
    }

    const MOVING: Moving = Moving { snapshot_version: 7, stale: false, age_seconds: 1 };

    #[test]
    fn unknown_runs_take_no_room() {
        let (id, state) = ("sbx-1".parse().unwrap(), state("hello"));
        let answers = answers(&state);
        for number in 0..100 {
            let run = format!("run_of_nobody_{number}").parse().unwrap();
            assert!(answers.get_or_build(&state, &id, Some(&run)).is_err());
        }
        assert!(lock(&answers.of[&id]).answers.is_empty());
    }
}
