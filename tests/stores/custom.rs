//! A custom store with `get` and `set` only.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use tower::BoxError;
use tower_oauth2::store::{StoredValue, TokenStore};

use crate::conformance::{Promises, check};

/// A store with a file per key, which are removed on drop.
struct Files(PathBuf);

impl TokenStore for Files {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        match fs::read(self.0.join(key)) {
            Ok(value) => Ok(Some(StoredValue::new(value))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn set(&self, key: &str, value: &[u8], _: Duration) -> Result<(), BoxError> {
        Ok(fs::write(self.0.join(key), value)?)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_store_meets_the_contract_of_get_and_set() {
    let name = format!("files-{}", std::process::id());
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory).unwrap();
    let promises =
        Promises { compares: false, tells_time_to_live: false, expires: false, ..Promises::all() };
    check(Files(directory), promises).await;
}
