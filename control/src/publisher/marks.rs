//! What a state was made of, as marks: of each record a keyed hash under a key that this process made
//! for itself and that ends with it. From the marks of one state and the records of the next follows
//! the change between the two, without a value having been kept. Pure, but for the key.

use std::cmp::Ordering;
use std::io;

use miosa_injector::{Change, Record, Records};
use ring::hmac;
use zeroize::Zeroizing;

use crate::token::{NoRandomness, fill_random};

/// Makes marks. Those of another marker are not to be compared with its own.
pub(super) struct Marker(hmac::Key);

/// The marks of one state: for each record, in the order of [`Records::iter`], its kind, the length of
/// its id, its id and its mark. One piece of memory, since there may be thousands of records on each of
/// thousands of hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marks(Box<[u8]>);

/// One record of [`Marks`].
struct Marked<'a> {
    kind: u8,
    id: &'a str,
    mark: [u8; MARK_LEN],
}

impl Marker {
    pub(super) fn new() -> Result<Self, NoRandomness> {
        let mut key = Zeroizing::new([0; 32]);
        fill_random(&mut *key)?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &*key)))
    }

    /// The marks of a state.
    pub(super) fn mark(&self, records: &Records) -> Marks {
        self.walk(None, records).0
    }

    /// The marks of a state, and the change that makes it of the state that `before` are the marks of.
    pub(super) fn follow(&self, before: &Marks, records: &Records) -> (Marks, Change) {
        self.walk(Some(before), records)
    }

    fn walk(&self, before: Option<&Marks>, records: &Records) -> (Marks, Change) {
        let mut change = Change::default();
        let mut bytes = Vec::new();
        let mut before = before.into_iter().flat_map(Marks::iter).peekable();
        for record in records.iter() {
            let marked = Marked { kind: kind_of(record), id: record.id(), mark: self.mark_of(record) };
            while let Some(gone) = before.next_if(|held| held.place().cmp(&marked.place()) == Ordering::Less)
            {
                delete(&mut change, &gone);
            }
            let held = before.next_if(|held| held.place() == marked.place());
            if held.is_none_or(|held| held.mark != marked.mark) {
                put(&mut change, record);
            }
            marked.write(&mut bytes);
        }
        before.for_each(|gone| delete(&mut change, &gone));
        (Marks(bytes.into_boxed_slice()), change)
    }

    fn mark_of(&self, record: Record<'_>) -> [u8; MARK_LEN] {
        let mut context = Hashing(hmac::Context::with_key(&self.0));
        // Hashing fails at nothing, and what is written is always JSON.
        let _infallible = record.write(&mut context);
        let tag = context.0.sign();
        std::array::from_fn(|place| tag.as_ref().get(place).copied().unwrap_or_default())
    }
}

impl Marks {
    /// The bytes that they take up.
    pub(super) fn size(&self) -> usize {
        self.0.len()
    }

    fn iter(&self) -> impl Iterator<Item = Marked<'_>> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (marked, others) = Marked::read(rest)?;
            rest = others;
            Some(marked)
        })
    }
}

impl<'a> Marked<'a> {
    fn place(&self) -> (u8, &'a str) {
        (self.kind, self.id)
    }

    fn write(&self, to: &mut Vec<u8>) {
        // Ids have at most 64 bytes.
        let length = u8::try_from(self.id.len()).unwrap_or(u8::MAX);
        to.extend_from_slice(&[self.kind, length]);
        to.extend_from_slice(self.id.as_bytes());
        to.extend_from_slice(&self.mark);
    }

    fn read(from: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[kind, length], rest) = from.split_first_chunk()?;
        let (id, rest) = rest.split_at_checked(length.into())?;
        let (mark, rest) = rest.split_first_chunk()?;
        Some((Self { kind, id: std::str::from_utf8(id).ok()?, mark: *mark }, rest))
    }
}

struct Hashing(hmac::Context);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// In the order of [`Records::iter`].
fn kind_of(record: Record<'_>) -> u8 {
    match record {
        Record::Variable(_) => VARIABLE,
        Record::Profile(_) => PROFILE,
        Record::Resource(_) => RESOURCE,
        Record::Run(_) => RUN,
    }
}

fn put(change: &mut Change, record: Record<'_>) {
    let put = &mut change.put;
    match record {
        Record::Variable(record) => drop(put.variables.insert(record.id.clone(), record.clone())),
        Record::Profile(record) => drop(put.profiles.insert(record.id.clone(), record.clone())),
        Record::Resource(record) => drop(put.resources.insert(record.id.clone(), record.clone())),
        Record::Run(record) => drop(put.runs.insert(record.id.clone(), record.clone())),
    }
}

/// Every id here was a record's, so that it parses.
fn delete(change: &mut Change, gone: &Marked<'_>) {
    let delete = &mut change.delete;
    match gone.kind {
        VARIABLE => delete.variables.extend(gone.id.parse().ok()),
        PROFILE => delete.profiles.extend(gone.id.parse().ok()),
        RESOURCE => delete.resources.extend(gone.id.parse().ok()),
        _ => delete.runs.extend(gone.id.parse().ok()),
    }
}

const VARIABLE: u8 = 0;
const PROFILE: u8 = 1;
const RESOURCE: u8 = 2;
const RUN: u8 = 3;
/// Half of an HMAC-SHA256: two contents of one record have the same mark by a chance of 2^-128, which
/// nobody who does not know the key can better.
const MARK_LEN: usize = 16;

#[cfg(test)]
mod tests;
