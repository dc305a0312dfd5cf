//! The values of options, read and checked.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use super::Mistake;

/// The value of an option, for whoever knows the option to ask for.
pub(super) struct Value<'a> {
    option: &'a str,
    parser: &'a mut lexopt::Parser,
}

impl<'a> Value<'a> {
    pub(super) fn new(option: &'a str, parser: &'a mut lexopt::Parser) -> Self {
        Self { option, parser }
    }

    pub(super) fn text(&mut self) -> Result<String, Mistake> {
        self.raw()?.into_string().map_err(|_| self.mistake("is not UTF-8"))
    }

    pub(super) fn path(&mut self) -> Result<PathBuf, Mistake> {
        self.raw().map(PathBuf::from)
    }

    /// A number from `least` on.
    pub(super) fn number<N: FromStr + PartialOrd>(&mut self, least: N) -> Result<N, Mistake> {
        let number = self.text()?.parse().ok().filter(|number| *number >= least);
        number.ok_or_else(|| self.mistake("is not a number in range"))
    }

    /// Two texts, the first one not empty, with `separator` between them.
    pub(super) fn pair(&mut self, separator: char) -> Result<(String, String), Mistake> {
        match self.text()?.split_once(separator) {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(self.mistake(&format!("is not of the form NAME{separator}VALUE"))),
        }
    }

    pub(super) fn mistake(&self, what: &str) -> Mistake {
        Mistake(format!("--{}: {what}", self.option))
    }

    fn raw(&mut self) -> Result<OsString, Mistake> {
        self.parser.value().map_err(|_| self.mistake("needs a value"))
    }
}
