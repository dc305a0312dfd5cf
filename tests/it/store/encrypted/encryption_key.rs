//! The text format of keys.

use tower_oauth2::store::{EncryptionKey, MemoryStore};

use super::*;

// S7
#[test]
fn keys_are_parsed_from_base64_and_hexadecimal_digits() {
    let bytes: [u8; 32] = std::array::from_fn(|n| n as u8 * 8 + 7);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let key: EncryptionKey = format!("k:{hex}").parse().unwrap();
    let base64 = key.to_text();
    assert_eq!(base64, "k:Bw8XHycvNz9HT1dfZ293f4ePl5+nr7e/x8/X3+fv9/8=");
    for text in [
        base64.clone(),
        base64.trim_end_matches('=').to_owned(),
        format!("  {base64}\r\n"),
        base64.replace(':', " : "),
        format!("k:{hex}"),
        format!("k:{}", hex.to_uppercase()),
    ] {
        let read: EncryptionKey = text.parse().unwrap();
        assert_eq!((read.id(), read.to_text()), ("k", base64.clone()), "{text}");
    }
}

// S7, X3
#[test]
fn a_malformed_key_is_an_error_that_does_not_quote_it() {
    let good = EncryptionKey::generate("k").unwrap().to_text();
    let key = &good[2..];
    for (text, why) in [
        ("", "encryption key must have the form id:key"),
        (key, "encryption key must have the form id:key"),
        (&format!(":{key}"), "must have an id"),
        (&format!("{}:{key}", "i".repeat(65)), "must have an id"),
        (&format!("two words:{key}"), "must have an id"),
        (&format!("ü:{key}"), "must have an id"),
        (&format!("{key}:k"), "encryption key must be base64 or 64 hexadecimal digits"),
        ("k:", "encryption key must be 32 bytes long"),
        ("k:c2hvcnQ=", "encryption key must be 32 bytes long"),
        (&format!("k:{}", "A".repeat(48)), "encryption key must be 32 bytes long"),
        (&format!("k:{}", "A".repeat(100)), "encryption key must be 32 bytes long"),
        (&format!("k:{}", "x".repeat(64)), "encryption key must be base64"),
        (&format!("k:{}", "ü".repeat(32)), "encryption key must be base64"),
        (&format!("k:{key}:"), "encryption key must be base64"),
        (&format!("k:{key} # mine"), "encryption key must be base64"),
    ] {
        let error = text.parse::<EncryptionKey>().unwrap_err();
        assert!(error.to_string().contains(why), "{text}: {error}");
        assert!(!format!("{error} {error:?}").contains(&key[..6]));
    }
    for length in [0, 16, 31, 33, 64] {
        assert!(format!("k:{}", "01".repeat(length)).parse::<EncryptionKey>().is_err());
    }
}

// S7
#[test]
fn a_key_file_has_one_key_per_line() {
    let (one, two) =
        (EncryptionKey::generate("one").unwrap(), EncryptionKey::generate("two").unwrap());
    assert_ne!(one.to_text()[4..], two.to_text()[4..]);
    let file = format!("\u{feff}# keys\r\n\r\n{}\r\n  # old:\n\t{}", one.to_text(), two.to_text());
    let keys = EncryptionKey::all_in(&file).unwrap();
    let ids: Vec<_> = keys.iter().map(EncryptionKey::id).collect();
    assert_eq!(ids, ["one", "two"]);
    assert_eq!(keys[1].to_text(), two.to_text());

    for (file, why) in [
        (String::new(), "encryption keys must not be empty"),
        ("# none\n\n".to_owned(), "encryption keys must not be empty"),
        (
            format!("{}\n{}", one.to_text(), one.to_text()),
            "encryption keys must have different ids: one",
        ),
        (format!("{}\nwhat", one.to_text()), "encryption key must have the form id:key"),
    ] {
        assert_eq!(EncryptionKey::all_in(file).unwrap_err().to_string(), why);
    }
}

// X3
#[test]
fn debug_shows_ids_and_redacts_keys() {
    assert_eq!(format!("{:?}", new()), r#"EncryptionKey { id: "new", key: "**redacted**" }"#);
    assert_eq!(
        format!("{:?}", encrypted(&MemoryStore::new(), [new(), old()])),
        r#"EncryptedStore { inner: MemoryStore { entries: 0 }, keys: ["new", "old"] }"#
    );
}
