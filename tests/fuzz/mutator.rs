//! Derives new cases from existing ones. Equal seeds give equal cases.

use fastrand::Rng;

/// The maximum length of a case.
const LONGEST: usize = 16 * 1024;

/// Bytes with a meaning for parsers.
const BYTES: &[u8] = b" \t\n\r\"\\,;=:/{}[]()<>@$%+-.*0129aZ\0\x7f\x80\xc3\xff";

/// Numbers at limits of this crate and of integer types.
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "7",
    "59",
    "60",
    "61",
    "127",
    "255",
    "8191",
    "8192",
    "31536000",
    "31536001",
    "65536",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
    "0.5",
    "00",
];

pub struct Mutator {
    rng: Rng,
    cases: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

impl Mutator {
    pub fn new(seed: u64, cases: Vec<Vec<u8>>, words: Vec<Vec<u8>>) -> Self {
        Self { rng: Rng::with_seed(seed), cases, words }
    }

    /// Returns a case with one to five changes.
    pub fn next(&mut self) -> Vec<u8> {
        let at = self.rng.usize(..self.cases.len());
        let mut case = self.cases[at].clone();
        for _ in 0..=self.rng.usize(..5) {
            self.change(&mut case);
        }
        case.truncate(LONGEST);
        case
    }

    fn change(&mut self, case: &mut Vec<u8>) {
        let at = self.rng.usize(..=case.len());
        let byte = BYTES[self.rng.usize(..BYTES.len())];
        match self.rng.u8(..9) {
            0 => {
                if let Some(found) = case.get_mut(at) {
                    *found ^= 1 << self.rng.u8(..8);
                }
            }
            1 => {
                if let Some(found) = case.get_mut(at) {
                    *found = byte;
                }
            }
            2 => case.insert(at, byte),
            3 => {
                let end = (at + self.rng.usize(..12)).min(case.len());
                case.drain(at..end);
            }
            4 => {
                // Repeats a part of the case once or many times.
                let end = (at + self.rng.usize(..40)).min(case.len());
                let times = if self.rng.u8(..8) == 0 { self.rng.usize(..64) } else { 1 };
                let piece = case[at..end].repeat(times);
                let to = self.rng.usize(..=case.len());
                case.splice(to..to, piece);
            }
            5 | 6 => {
                let word = self.words[self.rng.usize(..self.words.len())].clone();
                case.splice(at..at, word);
            }
            7 => self.change_number(case, at),
            _ => {
                // The rest comes from another case.
                let other = &self.cases[self.rng.usize(..self.cases.len())];
                let from = self.rng.usize(..=other.len());
                case.truncate(at);
                case.extend_from_slice(&other[from..]);
            }
        }
    }

    /// Replaces the first number after `at`.
    fn change_number(&mut self, case: &mut Vec<u8>, at: usize) {
        let digits = |byte: &u8| byte.is_ascii_digit();
        let Some(start) = case[at..].iter().position(digits).map(|ahead| at + ahead) else {
            return;
        };
        let len = case[start..].iter().take_while(|byte| digits(byte)).count();
        let number = NUMBERS[self.rng.usize(..NUMBERS.len())];
        case.splice(start..start + len, number.bytes());
    }
}

/// Parses a libFuzzer dictionary. Each line is a word in quotes, with the escapes `\\`, `\"` and
/// `\xNN`.
pub fn words(dictionary: &str) -> Vec<Vec<u8>> {
    let lines = dictionary.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let words: Vec<_> = lines.map(word).collect();
    assert!(!words.is_empty());
    words
}

fn word(line: &str) -> Vec<u8> {
    let quoted = line.strip_prefix('"').and_then(|line| line.strip_suffix('"'));
    let mut bytes = quoted.unwrap_or_else(|| panic!("not in quotes: {line}")).bytes();
    let mut word = Vec::new();
    while let Some(byte) = bytes.next() {
        word.push(match (byte, byte == b'\\') {
            (_, true) => match bytes.next() {
                Some(b'x') => {
                    let mut digit = || char::from(bytes.next().unwrap()).to_digit(16).unwrap();
                    (digit() * 16 + digit()) as u8
                }
                escaped => escaped.expect("something follows"),
            },
            (byte, false) => byte,
        });
    }
    word
}
