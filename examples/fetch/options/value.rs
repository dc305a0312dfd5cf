//! Reads and checks the values of options.

use std::ffi::OsString;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use super::Mistake;

/// The value of an option, which is read on demand.
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

    /// Returns the path of a file that exists. Its content may change later.
    pub(super) fn file(&mut self) -> Result<PathBuf, Mistake> {
        let path = self.path()?;
        match path.metadata() {
            Ok(metadata) if metadata.is_file() => Ok(path),
            Ok(_) => Err(self.mistake("is not a regular file")),
            Err(error) => Err(self.mistake(&error.to_string())),
        }
    }

    pub(super) fn number<N>(&mut self, range: RangeInclusive<N>) -> Result<N, Mistake>
    where
        N: FromStr + PartialOrd + Display,
    {
        let number = self.text()?.parse().ok().filter(|number| range.contains(number));
        let (least, most) = range.into_inner();
        number.ok_or_else(|| self.mistake(&format!("is not a number from {least} to {most}")))
    }

    /// Returns the texts before and after `separator`. The first one is not empty.
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
