//! Reads the values of a DER text (ITU-T X.690).

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// Reads the values of a DER text in order.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(der: &'a [u8]) -> Self {
        Self(der)
    }

    /// Reads the content of the one value in `der`.
    pub(super) fn within(der: &'a [u8], tag: u8) -> Option<Self> {
        let mut all = Self(der);
        let content = all.take(tag)?;
        all.0.is_empty().then_some(Self(content))
    }

    /// Returns the tag of the next value.
    pub(super) fn tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Returns the content of the next value, if it has this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (content, rest) = match *self.0 {
            [found, len @ 0..=0x7f, ref rest @ ..] if found == tag => {
                rest.split_at_checked(len.into())
            }
            [found, 0x81, len, ref rest @ ..] if found == tag => rest.split_at_checked(len.into()),
            [found, 0x82, high, low, ref rest @ ..] if found == tag => {
                rest.split_at_checked(u16::from_be_bytes([high, low]).into())
            }
            _ => None,
        }?;
        self.0 = rest;
        Some(content)
    }
}
