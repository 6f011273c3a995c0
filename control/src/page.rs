//! Pages of lists. A list is in the order of creation, and a page begins after a position in it, so
//! that the last page costs as much as the first and nothing is skipped when rows go away.

use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;

use crate::clock::Millis;

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    limit: Option<u16>,
    after: Cursor,
}

/// A place in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position<'a> {
    pub(crate) created_at: Millis,
    pub(crate) id: &'a str,
}

/// The place after which a page begins, as clients carry it around.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    created_at: Millis,
    id: String,
}

/// How many rows a page may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(u16);

/// Not a number from 1 to [`MAX_LIMIT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number from 1 to {MAX_LIMIT}")]
pub(crate) struct LimitSyntax;

/// Not a cursor that was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the next_cursor of an earlier page")]
pub(crate) struct CursorSyntax;

impl Page {
    /// A page as asked for: without limit and cursor it is the whole list.
    pub(crate) fn new(limit: Option<Limit>, cursor: Option<Cursor>) -> Self {
        let limit = match (limit, &cursor) {
            (Some(limit), _) => Some(limit.0),
            (None, Some(_)) => Some(DEFAULT_LIMIT),
            (None, None) => None,
        };
        Self { limit, after: cursor.unwrap_or(Cursor { created_at: Millis(i64::MIN), id: String::new() }) }
    }

    /// The position after which the page begins.
    pub(crate) fn after(&self) -> Position<'_> {
        Position { created_at: self.after.created_at, id: &self.after.id }
    }

    /// How many rows to read: one more than the page has shows whether there is a next one.
    pub(crate) fn fetch(&self) -> i64 {
        self.limit.map_or(i64::MAX, |limit| i64::from(limit).saturating_add(1))
    }

    /// Cuts the rows that were read down to the page. Gives the next page's cursor for a page that
    /// is not the last, `None` for the last, and nothing at all for a whole list.
    pub(crate) fn cut<T>(
        &self,
        rows: &mut Vec<T>,
        position: fn(&T) -> Position<'_>,
    ) -> Option<Option<String>> {
        let limit = usize::from(self.limit?);
        if rows.len() <= limit {
            return Some(None);
        }
        rows.truncate(limit);
        Some(rows.last().map(|last| position(last).cursor()))
    }
}

impl Position<'_> {
    fn cursor(self) -> String {
        BASE64URL_NOPAD.encode(format!("{}.{}", self.created_at.0, self.id).as_bytes())
    }
}

impl Limit {
    /// For lists that are never given as a whole.
    pub(crate) const DEFAULT: Self = Self(DEFAULT_LIMIT);
}

impl FromStr for Cursor {
    type Err = CursorSyntax;
    fn from_str(text: &str) -> Result<Self, CursorSyntax> {
        let decode = || {
            let plain = String::from_utf8(BASE64URL_NOPAD.decode(text.as_bytes()).ok()?).ok()?;
            let (created_at, id) = plain.split_once('.')?;
            let harmless = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            let cursor = Self { created_at: Millis(created_at.parse().ok()?), id: id.to_owned() };
            harmless.then_some(cursor)
        };
        decode().ok_or(CursorSyntax)
    }
}

impl FromStr for Limit {
    type Err = LimitSyntax;
    fn from_str(text: &str) -> Result<Self, LimitSyntax> {
        match text.parse() {
            Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(Self(limit)),
            Ok(_) | Err(_) => Err(LimitSyntax),
        }
    }
}

const MAX_LIMIT: u16 = 1000;
const DEFAULT_LIMIT: u16 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_on_from_the_last_row_of_a_page() {
        fn position(row: &(i64, String)) -> Position<'_> {
            Position { created_at: Millis(row.0), id: &row.1 }
        }
        let mut rows: Vec<_> = (0..3).map(|n| (n, format!("id{n}"))).collect();
        let page = Page::new(Some("2".parse().unwrap()), None);
        assert_eq!(page.fetch(), 3);
        let cursor = page.cut(&mut rows, position).unwrap().unwrap();
        assert_eq!(rows.len(), 2);
        let next = Page::new(None, Some(cursor.parse().unwrap()));
        assert_eq!(next.after(), Position { created_at: Millis(1), id: "id1" });
        assert_eq!(next.cut(&mut rows, position), Some(None));
        assert_eq!(Page::new(None, None).cut(&mut rows, position), None);
    }

    #[test]
    fn what_is_no_limit_or_cursor_is_refused() {
        for bad in ["0", "1001", "-1", "x", ""] {
            assert_eq!(bad.parse::<Limit>(), Err(LimitSyntax), "{bad}");
        }
        let nul = BASE64URL_NOPAD.encode(b"1.a\0b");
        for bad in ["", "!", "MQ", nul.as_str()] {
            assert_eq!(bad.parse::<Cursor>(), Err(CursorSyntax), "{bad}");
        }
    }
}
