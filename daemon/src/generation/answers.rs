//! Answers built once for each resource, run and content. They live and die with the content they
//! were built from, so an answer can never outlast its state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use hyper::header::HeaderValue;
use miosa_injector::model::{ResourceId, RunId};
use miosa_injector::{Answer, Moving, ResolveError, State, resolve};
use ring::digest::{Context, SHA256};

/// The answers of one content. The resources are fixed, so no lock is shared between two of them.
pub(super) struct Answers(BTreeMap<ResourceId, Mutex<OfResource>>);

/// By run; none for the resource itself. An unknown run is not kept, so this is bounded by the state.
type OfResource = BTreeMap<Option<RunId>, Result<Arc<Built>, ResolveError>>;

/// A built answer.
pub(crate) struct Built {
    answer: Answer,
    etag: HeaderValue,
    /// The body as it was last sent: within one second all of them are the same.
    last: Mutex<Option<(Moving, Bytes)>>,
}

impl Answers {
    pub(super) fn for_resources<'a>(ids: impl Iterator<Item = &'a ResourceId>) -> Self {
        Self(ids.map(|id| (id.clone(), Mutex::default())).collect())
    }

    pub(super) fn get_or_build(
        &self,
        state: &State,
        resource: &ResourceId,
        run: Option<&RunId>,
    ) -> Result<Arc<Built>, ResolveError> {
        let built = self.0.get(resource).ok_or_else(|| ResolveError::ResourceNotFound(resource.clone()))?;
        let mut built = lock(built);
        let key = run.cloned();
        if let Some(answer) = built.get(&key) {
            return answer.clone();
        }
        let answer =
            resolve(state, resource, run).map(|resolution| Arc::new(Built::new(resolution.answer())));
        if !matches!(answer, Err(ResolveError::RunNotFound { .. })) {
            built.insert(key, answer.clone());
        }
        answer
    }
}

impl Built {
    fn new(answer: Answer) -> Self {
        let mut context = Context::new(&SHA256);
        for part in answer.content() {
            context.update(part);
        }
        let digest = HEXLOWER.encode(context.finish().as_ref());
        // Hexadecimal digits in quotes are always a header's value.
        let etag = HeaderValue::try_from(format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self { answer, etag, last: Mutex::new(None) }
    }

    /// Names the content: equal for equal content, across versions and restarts.
    pub(crate) fn etag(&self) -> &HeaderValue {
        &self.etag
    }

    /// The body with these moving fields. Wiped when its last user is done.
    pub(crate) fn body(&self, moving: Moving) -> Bytes {
        let mut last = lock(&self.last);
        if let Some((_, body)) = last.as_ref().filter(|(sent, _)| *sent == moving) {
            return body.clone();
        }
        let body = Bytes::from_owner(self.answer.body(moving));
        *last = Some((moving, body.clone()));
        body
    }
}

/// A panic while one of these locks was held left nothing half done: each guards single assignments.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
