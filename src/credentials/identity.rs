//! Encodes the identity of credentials: everything that tells their token from other tokens.

use zeroize::Zeroizing;

use super::Inner;
use crate::client_auth::{ClientAuthentication, LENGTH_SIZE, length_bytes};
use crate::refresh_token::RefreshToken;

impl Inner {
    /// Returns the identity in its one spelling.
    pub(super) fn canonical(&self) -> Zeroizing<Vec<u8>> {
        let path = self.endpoint.path_and_query().map_or("/", |path| path.as_str());

        // Reserve all of the room, because memory that a vector outgrows is not wiped.
        let texts = [path, self.auth.method(), self.auth.client_id().unwrap_or_default()]
            .into_iter()
            .chain(self.audience.as_deref())
            .chain(self.scope.iter().chain(&self.resources).map(|text| &**text))
            .chain(self.parameters.iter().flat_map(|(name, value)| [&**name, value.as_str()]));
        let thumbprint = self.dpop.as_ref().map(|key| key.thumbprint());
        let name = self.refresh_token.as_ref().map_or("", RefreshToken::name);
        let texts = texts.chain([name]);
        let room = texts.map(|text| text.len() + LENGTH_SIZE).sum::<usize>() + self.client.len();
        let mut all = Canonical(Zeroizing::new(Vec::with_capacity(room + 512)));
        all.list([self.endpoint_origin.to_string().as_bytes(), path.as_bytes()]);
        all.list([
            self.auth.method().as_bytes(),
            self.auth.client_id().unwrap_or_default().as_bytes(),
            &self.client,
        ]);
        all.list(sorted(&self.scope));
        all.list(self.audience.iter().map(|audience| audience.as_bytes()));
        all.list(sorted(&self.resources));
        let mut parameters: Vec<_> = self.parameters.iter().collect();
        parameters.sort_unstable_by_key(|(name, _)| name);
        all.list(parameters.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]));
        all.list(thumbprint.iter().map(|thumbprint| thumbprint.as_bytes()));
        // Nothing is added without one, so that tokens that were stored before are still found.
        if let Some(refresh_token) = &self.refresh_token {
            all.list([refresh_token.name().as_bytes()]);
        }
        // Give back the room that was not needed, because the identity lives with the credentials.
        Zeroizing::new(all.0.to_vec())
    }
}

fn sorted(values: &[Box<str>]) -> Vec<&[u8]> {
    let mut values: Vec<_> = values.iter().map(|value| value.as_bytes()).collect();
    values.sort_unstable();
    values
}

/// Lists of byte strings with their lengths before them, so that different lists differ.
struct Canonical(Zeroizing<Vec<u8>>);

impl Canonical {
    fn list<'a>(&mut self, items: impl IntoIterator<Item = &'a [u8]>) {
        let items: Vec<_> = items.into_iter().collect();
        self.length(items.len());
        for item in items {
            self.length(item.len());
            self.0.extend_from_slice(item);
        }
    }

    fn length(&mut self, length: usize) {
        self.0.extend_from_slice(&length_bytes(length));
    }
}
