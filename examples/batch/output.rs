//! The results, in the order of the requests.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use crate::delivery::Delivery;
use crate::journal::line_of;

/// The file that the results go to.
#[derive(Debug)]
pub(crate) struct Output(File);

impl Output {
    /// Opens the file behind the results that are whole: a last one that a kill has cut off is taken away.
    pub(crate) fn open(path: &Path, found: &Found) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        file.set_len(found.whole)?;
        Ok(Self(file))
    }

    /// Gives a result to the operating system, which keeps it when the process is killed.
    pub(crate) fn write(&mut self, delivery: &Delivery) -> io::Result<()> {
        self.0.write_all(line_of(delivery)?.as_bytes())
    }
}

/// What is in the file before a run.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// How many results.
    pub(crate) delivered: u64,
    /// How many bytes these have.
    whole: u64,
    pub(crate) is_empty: bool,
}

impl Found {
    /// # Errors
    /// If these are not the results of as many first lines.
    pub(crate) fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { is_empty: true, ..Self::default() });
            }
            file => file?,
        };
        let mut found = Self { is_empty: file.metadata()?.len() == 0, ..Self::default() };
        let mut reader = BufReader::new(file);
        let (mut line, mut last) = (Vec::new(), Vec::new());
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            found.delivered += 1;
            found.whole += line.len() as u64;
            std::mem::swap(&mut line, &mut last);
            line.clear();
        }
        let belongs = |last: Delivery| last.line == found.delivered;
        if found.delivered > 0 && !serde_json::from_slice(&last).is_ok_and(belongs) {
            return Err(
                format!("{}: the last of its {} lines is not their result", path.display(), found.delivered).into()
            );
        }
        Ok(found)
    }
}

/// That nothing is overwritten by a run that begins.
pub(crate) fn refuse_to_overwrite(path: &Path) -> Result<(), Box<dyn Error>> {
    if path.try_exists()? {
        return Err(format!("{}: exists; --resume goes on with it", path.display()).into());
    }
    Ok(())
}
