//! A custom store with `get` and `set` only.

use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use tower::BoxError;
use tower_oauth2::store::{StoredValue, TokenStore};
use tower_oauth2_testkit::Folder;
use tower_oauth2_testkit::conformance::{Promises, check};

/// A store with a file for each key.
struct Files(Folder);

impl TokenStore for Files {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        match fs::read(self.0.path(key)) {
            Ok(value) => Ok(Some(StoredValue::new(value))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn set(&self, key: &str, value: &[u8], _: Duration) -> Result<(), BoxError> {
        Ok(fs::write(self.0.path(key), value)?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_store_meets_the_contract_of_get_and_set() {
    let promises =
        Promises { compares: false, tells_time_to_live: false, expires: false, ..Promises::all() };
    check(Files(Folder::new()), promises).await;
}
