//! The file of requests, a line at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// The longest line that is read into memory.
const LONGEST_LINE: u64 = 1024 * 1024;

/// A line of the input.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    pub(crate) method: String,
    pub(crate) path: String,
    /// As it is written: a number that passes through a `f64` may be another one.
    #[serde(default)]
    pub(crate) body: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) id: Option<Value>,
}

/// A line, and what it asks for, or why that is nothing.
pub(crate) type Numbered = (u64, Result<Order, String>);

/// The lines from some number on.
#[derive(Debug)]
pub(crate) struct Lines {
    file: BufReader<File>,
    number: u64,
}

impl Lines {
    /// The lines behind the first `passed`.
    pub(crate) fn open(path: &Path, passed: u64) -> io::Result<Self> {
        let mut file = BufReader::new(File::open(path)?);
        for _ in 0..passed {
            file.skip_until(b'\n')?;
        }
        Ok(Self { file, number: passed })
    }

    fn read(&mut self) -> io::Result<Option<Numbered>> {
        let mut line = Vec::new();
        if self.file.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if !line.ends_with(b"\n") && !self.file.fill_buf()?.is_empty() {
            self.file.skip_until(b'\n')?;
            return Ok(Some((self.number, Err(format!("longer than {LONGEST_LINE} bytes")))));
        }
        let order = serde_json::from_slice(&line).map_err(|error| format!("not a request: {error}"));
        Ok(Some((self.number, order)))
    }
}

impl Iterator for Lines {
    type Item = io::Result<Numbered>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// What a file is recognised by. Nobody is meant to forge one, so a plain hash will do.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Fingerprint {
    pub(crate) lines: u64,
    bytes: u64,
    hash: u64,
}

impl Fingerprint {
    /// Of the file as it is now: FNV-1a (RFC 9923), because the standard library's hash may change between releases.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::new(File::open(path)?);
        let (mut lines, mut bytes, mut hash, mut last) = (0, 0, 0xcbf2_9ce4_8422_2325_u64, b'\n');
        loop {
            let piece = file.fill_buf()?;
            let length = piece.len();
            for &byte in piece {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
                lines += u64::from(byte == b'\n');
                last = byte;
            }
            if length == 0 {
                break;
            }
            bytes += length as u64;
            file.consume(length);
        }
        // A last line without an end is one too.
        lines += u64::from(last != b'\n');
        Ok(Self { lines, bytes, hash })
    }
}
