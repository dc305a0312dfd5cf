//! Looks at a file: at its stamp, and at its content if that is needed.
//!
//! The functions block the thread.

use std::fs::{File, Metadata, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use super::FileErrorKind;
use crate::util::clock::wall_clock;

/// The largest content that is read. Keys and assertions are much smaller.
const MAX_LEN: u64 = 1024 * 1024;

/// The age from which on a change of a file counts as complete.
///
/// A program that truncates a file before it writes the content takes far less time. The rest
/// allows for coarse timestamps, and for a file server whose clock is a little off.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// Names the purpose of a look. A look for the content finds the stamp too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    Stamp,
    Content,
}

/// A number that differs when a file has changed; 0 if there is no file.
pub(super) type Stamp = u64;

/// Holds the result of a look.
pub(super) struct LookResult {
    pub(super) stamp: Stamp,
    /// `None` if only the stamp was wanted.
    pub(super) content: Option<Result<Content, FileErrorKind>>,
}

pub(super) struct Content {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// The stamps of the open file before and after it was read.
    pub(super) stamps: [Stamp; 2],
    /// The file changed less than a second ago.
    ///
    /// So it may still be written to.
    pub(super) is_recent: bool,
}

/// Looks at the file at `path`.
pub(super) fn look_at(path: &Path, wanted: Wanted) -> LookResult {
    let stamp = path.metadata().map_or(0, |metadata| stamp(&metadata));
    let content = (wanted == Wanted::Content).then(|| read(path));
    LookResult { stamp, content }
}

fn read(path: &Path) -> Result<Content, FileErrorKind> {
    // The type is checked before the file is opened too, because opening a device may have an
    // effect.
    check(&path.metadata()?)?;
    read_open(open(path)?)
}

/// Opens a file without waiting for the other end of a pipe.
///
/// The file may have been replaced with a pipe since it was checked.
fn open(path: &Path) -> Result<File, FileErrorKind> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    }
    let file = options.open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

fn check(metadata: &Metadata) -> Result<(), FileErrorKind> {
    if metadata.is_file() { Ok(()) } else { Err(FileErrorKind::Text("is not a regular file")) }
}

fn read_open(file: File) -> Result<Content, FileErrorKind> {
    let before = file.metadata()?;
    // The buffer has room for the whole file, because a buffer that grows leaves copies behind that
    // are not wiped. `read_to_end` needs spare room to find the end.
    let room = before.len().min(MAX_LEN) as usize + 64;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    (&file).take(MAX_LEN + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(FileErrorKind::Text("is larger than 1 MiB"));
    }
    let after = file.metadata()?;
    Ok(Content { bytes, stamps: [stamp(&before), stamp(&after)], is_recent: is_recent(&after) })
}

/// Returns whether a file has changed less than a second ago.
///
/// A time in the future counts too, because the clock of a file server may be ahead.
fn is_recent(metadata: &Metadata) -> bool {
    let Ok(modified) = metadata.modified() else {
        return false;
    };
    let now = wall_clock();
    let difference = now.duration_since(modified).or_else(|_| modified.duration_since(now));
    difference.is_ok_and(|difference| difference < SETTLED_AFTER)
}

pub(super) fn stamp(metadata: &Metadata) -> Stamp {
    let mut hasher = DefaultHasher::new();
    metadata.len().hash(&mut hasher);
    metadata.modified().ok().hash(&mut hasher);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // The time of the last change also differs if the modification time was set back.
        (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::Command;

    use super::*;

    // W9: without O_NONBLOCK, opening a pipe waits until another process opens it for writing.
    #[test]
    fn a_pipe_is_opened_without_waiting_and_not_read() {
        let folder = std::env::temp_dir().join(format!("oauth2-pipe-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let pipe = folder.join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let opened = open(&pipe).map(drop);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(matches!(opened, Err(FileErrorKind::Text("is not a regular file"))));
    }
}
