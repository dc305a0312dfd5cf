//! A file whose content may change: read anew each time, within bounds.

use std::error::Error as StdError;
use std::fs::{File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, mem};

use tokio::runtime::Handle;
use zeroize::Zeroizing;

/// No key and no assertion is as large as this.
const LIMIT: u64 = 1024 * 1024;

/// Some editors and shells begin a text in UTF-8 with it.
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

const LINE_BREAKS: [char; 2] = ['\r', '\n'];

/// A file that is read whenever its content is wanted.
#[derive(Clone)]
pub(crate) struct WatchedFile(Arc<Path>);

impl WatchedFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The path, as it was given.
    pub(crate) fn identity(&self) -> &[u8] {
        self.0.as_os_str().as_encoded_bytes()
    }

    /// Another number whenever the file is another one; 0 when there is none.
    pub(crate) fn version(&self) -> u64 {
        self.0.metadata().map_or(0, |metadata| stamp(&metadata))
    }

    /// Its text, less the line breaks at the end.
    pub(crate) async fn read(&self) -> Result<Zeroizing<String>, Unusable> {
        let mut bytes = self.read_bytes().await?;
        let text = String::from_utf8(mem::take(&mut bytes)).map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            Unusable::new(self, Why::Text("is not UTF-8"))
        })?;
        let mut text = Zeroizing::new(text);
        let end = text.trim_end_matches(LINE_BREAKS).len();
        text.truncate(end);
        Ok(text)
    }

    /// All of it, less a byte order mark. There is more in it than line breaks.
    pub(crate) async fn read_bytes(&self) -> Result<Zeroizing<Vec<u8>>, Unusable> {
        let unusable = |why| Unusable::new(self, why);
        let runtime = Handle::try_current()
            .map_err(|_| unusable(Why::Text("there is no tokio runtime to read it on")))?;
        let path = self.0.clone();
        let read = runtime.spawn_blocking(move || read(&path)).await;
        read.map_err(|_| unusable(Why::Text("the task that read it ended early")))?
            .map_err(unusable)
    }
}

fn stamp(metadata: &Metadata) -> u64 {
    let mut hasher = DefaultHasher::new();
    metadata.len().hash(&mut hasher);
    metadata.modified().ok().hash(&mut hasher);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // The time of the last change tells of a file that was given its old modification time.
        (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()).hash(&mut hasher);
    }
    hasher.finish()
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Why> {
    // Looked at before it is opened: to open a pipe may take for ever.
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        return Err(Why::Text("is not a regular file"));
    }
    // With room for all of it: memory that is outgrown is not wiped. `read_to_end` wants to see the
    // end before it takes no more.
    let room = metadata.len().min(LIMIT) as usize + 64;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    File::open(path)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(Why::Text("is larger than 1 MiB"));
    }
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    let is_empty = bytes.iter().all(|byte| LINE_BREAKS.contains(&char::from(*byte)));
    if is_empty { Err(Why::Text("is empty")) } else { Ok(bytes) }
}

/// A file that is of no use as it is. It may be of use later. Its text holds the path and nothing of
/// the content.
pub(crate) struct Unusable {
    path: Arc<Path>,
    why: Why,
}

pub(crate) enum Why {
    Text(&'static str),
    Io(io::Error),
    /// The content is not what it should be.
    #[cfg(feature = "jwt")]
    Content(crate::error::ConfigError),
}

impl Unusable {
    pub(crate) fn new(file: &WatchedFile, why: Why) -> Self {
        Self { path: file.0.clone(), why }
    }

    #[cfg(feature = "jwt")]
    pub(crate) fn for_its_content(file: &WatchedFile, why: crate::error::ConfigError) -> Self {
        Self::new(file, Why::Content(why))
    }
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: ", self.path)?;
        match &self.why {
            Why::Text(why) => f.write_str(why),
            Why::Io(_) => f.write_str("can not be read"),
            #[cfg(feature = "jwt")]
            Why::Content(why) => why.fmt(f),
        }
    }
}

impl fmt::Debug for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unusable({self})")
    }
}

impl StdError for Unusable {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.why {
            Why::Io(error) => Some(error),
            _ => None,
        }
    }
}
