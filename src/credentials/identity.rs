//! What makes a token what it is, as bytes.

use zeroize::Zeroizing;

use super::Inner;
use crate::client_auth::ClientAuthentication;
use crate::refresh_token::RefreshToken;

impl Inner {
    /// Everything that makes the token what it is, in one spelling.
    pub(super) fn canonical(&self) -> Zeroizing<Vec<u8>> {
        let sorted = |values: &[Box<str>]| {
            let mut values = values.to_vec();
            values.sort_unstable();
            values
        };
        let path = self.endpoint.path_and_query().map_or("/", |path| path.as_str());

        // With room for all of it: memory that is outgrown is not wiped.
        let texts = [path, self.auth.method(), self.auth.client_id().unwrap_or_default()]
            .into_iter()
            .chain(self.audience.as_deref())
            .chain(self.scope.iter().chain(&self.resources).map(|text| &**text))
            .chain(self.parameters.iter().flat_map(|(name, value)| [&**name, value.as_str()]));
        let thumbprint = self.dpop.as_ref().map(|key| key.thumbprint());
        let name = self.refresh_token.as_ref().map_or("", RefreshToken::name);
        let texts = texts.chain([name]);
        let room = texts.map(|text| text.len() + WORD).sum::<usize>() + self.client.len();
        let mut all = Canonical(Zeroizing::new(Vec::with_capacity(room + 512)));
        all.list([self.endpoint_origin.to_string().as_bytes(), path.as_bytes()]);
        all.list([
            self.auth.method().as_bytes(),
            self.auth.client_id().unwrap_or_default().as_bytes(),
            &self.client,
        ]);
        all.list(sorted(&self.scope).iter().map(|name| name.as_bytes()));
        all.list(self.audience.iter().map(|audience| audience.as_bytes()));
        all.list(sorted(&self.resources).iter().map(|resource| resource.as_bytes()));
        let mut parameters: Vec<_> = self.parameters.iter().collect();
        parameters.sort_unstable_by_key(|(name, _)| name);
        all.list(parameters.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]));
        all.list(thumbprint.iter().map(|thumbprint| thumbprint.as_bytes()));
        // Without one, nothing: stored tokens are found under what there was before.
        if let Some(refresh_token) = &self.refresh_token {
            all.list([refresh_token.name().as_bytes()]);
        }
        // As it is kept for as long as the credentials are: without the room that it did not need.
        Zeroizing::new(all.0.to_vec())
    }
}

/// A length takes this much.
const WORD: usize = size_of::<u64>();

/// Lists of byte strings with their lengths before them: two different ones never read the same.
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

    /// As wide on every machine: machines share what is stored under it.
    fn length(&mut self, length: usize) {
        self.0.extend_from_slice(&(length as u64).to_be_bytes());
    }
}
