//! Prints an error with everything that caused it. Error texts never contain their source, so that
//! the chain is printed once, here.

use std::error::Error;
use std::fmt;

/// Displays an error and its sources as `a: b: c`.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
