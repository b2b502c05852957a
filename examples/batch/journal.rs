//! What is known of each line, written down as it happens, so that it is known after a kill.
//!
//! | The journal says | The process was killed | A resumed run |
//! | --- | --- | --- |
//! | nothing of a line | before it was sent, or it may be sent twice | sends it, with the same key if there are keys |
//! | `sent` | after it began to send a request that must not be sent twice | says that its fate is unknown |
//! | `done`, with the result | after the answer | writes the result |
//!
//! A `sent` is on the disk before the first byte is on the wire, so it holds when the power fails. A `done` is given to the
//! operating system, which keeps it when the process is killed; if the power fails it may be lost, and the line is then taken
//! for what it was before.
//!
//! When not to use it: on a network's file system that does not lock files for all its hosts.

use std::collections::HashMap;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fs4::fs_std::FileExt;
use serde::{Deserialize, Serialize};

use crate::delivery::Delivery;
use crate::input::Fingerprint;
use crate::output::Found;
use crate::settings::Settings;

/// The first line: what has to be the same in a run that is resumed, or lines could be sent twice.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Head {
    /// Drawn once, and a part of every key.
    run: String,
    url: String,
    idempotency_keys: bool,
    input: Fingerprint,
}

/// Every other line.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Entry {
    Sent(u64),
    Done(Delivery),
}

/// What an earlier run left of a line that has no result yet.
#[derive(Debug)]
pub(crate) enum Left {
    Sent,
    Done(Delivery),
}

/// Lines that were begun and are not in the output: as many as can be under way at once, at most.
pub(crate) type LeftOver = HashMap<u64, Left>;

/// The open journal. No other process has it open.
#[derive(Debug)]
pub(crate) struct Journal {
    /// Entries do not mix, and behind one that could not be written whole (the disk is full) there is no other: hence `None`.
    file: Mutex<Option<Arc<File>>>,
    head: Head,
}

impl Journal {
    /// Where the journal of this output is.
    pub(crate) fn path(output: &Path) -> PathBuf {
        let mut path = output.as_os_str().to_owned();
        path.push(".journal");
        path.into()
    }

    /// Opens the journal, and reads what it says of the lines that have no result in the output yet.
    ///
    /// # Errors
    /// If another process has it, or it is that of other requests.
    pub(crate) fn open(settings: &Settings) -> Result<(Self, LeftOver, Found), Box<dyn Error>> {
        let path = Self::path(&settings.output);
        let file = OpenOptions::new().create(true).read(true).append(true).open(&path)?;
        if !FileExt::try_lock_exclusive(&file)? {
            return Err(format!("{}: another process is at work on it", path.display()).into());
        }
        let input = Fingerprint::of(&settings.input)?;
        let run = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let (url, idempotency_keys) = (settings.url.clone(), settings.idempotency_keys);
        let head = Head { run, url, idempotency_keys, input };
        // Only now, since another process may have written until then.
        let found = Found::read(&settings.output)?;
        let delivered = found.delivered;

        let mut reader = BufReader::new(&file);
        let (mut line, mut whole) = (String::new(), 0);
        let mut left = LeftOver::new();
        let mut known: Option<Head> = None;
        while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
            whole += line.len() as u64;
            match &known {
                None => known = Some(serde_json::from_str(&line)?),
                Some(_) => match serde_json::from_str(&line)? {
                    Entry::Sent(number) if number > delivered => drop(left.entry(number).or_insert(Left::Sent)),
                    Entry::Done(delivery) if delivery.line > delivered => {
                        left.insert(delivery.line, Left::Done(delivery));
                    }
                    Entry::Sent(_) | Entry::Done(_) => {}
                },
            }
            line.clear();
        }
        // An entry that was cut off by a kill was not acted on either.
        file.set_len(whole)?;
        let head = match known {
            Some(known) if (Head { run: known.run.clone(), ..head.clone() }) == known => known,
            Some(known) => {
                let differs = if known.input == head.input { "--url or --idempotency-keys" } else { "the input" };
                return Err(format!("{}: {differs} was another one in the run that is resumed", path.display()).into());
            }
            None if !found.is_empty => {
                return Err(format!("{}: is empty, and the output is not", path.display()).into());
            }
            None => {
                (&file).write_all(line_of(&head)?.as_bytes())?;
                file.sync_all()?;
                head
            }
        };
        Ok((Self { file: Mutex::new(Some(Arc::new(file))), head }, left, found))
    }

    /// How many lines there are.
    pub(crate) fn lines(&self) -> u64 {
        self.head.input.lines
    }

    /// The key of a line: the same in every run that is resumed.
    pub(crate) fn key(&self, number: u64) -> String {
        format!("{}-{number}", self.head.run)
    }

    /// Notes that a line is about to be sent, and returns when that is on the disk.
    pub(crate) fn sent(&self, number: u64) -> io::Result<()> {
        self.append(&Entry::Sent(number))?.sync_data()
    }

    /// Notes what came of a line.
    pub(crate) fn done(&self, delivery: Delivery) -> io::Result<Delivery> {
        let entry = Entry::Done(delivery);
        self.append(&entry)?;
        match entry {
            Entry::Done(delivery) => Ok(delivery),
            Entry::Sent(_) => unreachable!("it was made two lines above"),
        }
    }

    fn append(&self, entry: &Entry) -> io::Result<Arc<File>> {
        let line = line_of(entry)?;
        let mut kept = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let file = kept.take().ok_or_else(|| io::Error::other("the journal could not be written"))?;
        (&*file).write_all(line.as_bytes())?;
        Ok(kept.insert(file).clone())
    }
}

/// As it is written, in one piece.
pub(crate) fn line_of(value: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(value)? + "\n")
}
