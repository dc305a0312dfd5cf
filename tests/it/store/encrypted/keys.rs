use tower_oauth2::store::{EncryptedStore, EncryptionKey, MemoryStore};

use super::*;

// S7
#[test]
fn keys_are_read_in_base64_and_in_hexadecimal_digits() {
    let bytes: [u8; 32] = std::array::from_fn(|n| n as u8 * 8 + 7);
    let key = EncryptionKey::new("k", bytes).unwrap();
    let base64 = key.to_text();
    assert_eq!(base64, "k:Bw8XHycvNz9HT1dfZ293f4ePl5+nr7e/x8/X3+fv9/8=");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
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
fn what_is_no_key_is_an_error_that_does_not_quote_it() {
    let good = EncryptionKey::generate("k").unwrap().to_text();
    let key = &good[2..];
    for (text, why) in [
        ("", "seal key: is to be written as id:key"),
        (key, "seal key: is to be written as id:key"),
        (&format!(":{key}"), "needs an id"),
        (&format!("{}:{key}", "i".repeat(65)), "needs an id"),
        (&format!("two words:{key}"), "needs an id"),
        (&format!("ü:{key}"), "needs an id"),
        (&format!("{key}:k"), "seal key: is neither base64 nor 64 hexadecimal digits"),
        ("k:", "seal key: is not 32 bytes long"),
        ("k:c2hvcnQ=", "seal key: is not 32 bytes long"),
        (&format!("k:{}", "A".repeat(48)), "seal key: is not 32 bytes long"),
        (&format!("k:{}", "A".repeat(100)), "seal key: is not 32 bytes long"),
        (&format!("k:{}", "x".repeat(64)), "seal key: is neither base64"),
        (&format!("k:{}", "ü".repeat(32)), "seal key: is neither base64"),
        (&format!("k:{key}:"), "seal key: is neither base64"),
        (&format!("k:{key} # mine"), "seal key: is neither base64"),
    ] {
        let error = text.parse::<EncryptionKey>().unwrap_err();
        assert!(error.to_string().contains(why), "{text}: {error}");
        assert!(!format!("{error} {error:?}").contains(&key[..6]));
    }
    for length in [0, 16, 31, 33, 64] {
        assert!(EncryptionKey::new("k", vec![1; length]).is_err());
    }
}

// S7
#[test]
fn a_key_file_has_a_key_a_line_the_newest_first() {
    let (one, two) =
        (EncryptionKey::generate("one").unwrap(), EncryptionKey::generate("two").unwrap());
    assert_ne!(one.to_text()[4..], two.to_text()[4..]);
    let file = format!("\u{feff}# keys\r\n\r\n{}\r\n  # old:\n\t{}", one.to_text(), two.to_text());
    let keys = EncryptionKey::all_in(&file).unwrap();
    let ids: Vec<_> = keys.iter().map(EncryptionKey::id).collect();
    assert_eq!(ids, ["one", "two"]);
    assert_eq!(keys[1].to_text(), two.to_text());

    for (file, why) in [
        (String::new(), "seal keys: there are none"),
        ("# none\n\n".to_owned(), "seal keys: there are none"),
        (format!("{}\n{}", one.to_text(), one.to_text()), "seal keys: two have the same id"),
        (format!("{}\nwhat", one.to_text()), "seal key: is to be written as id:key"),
    ] {
        assert_eq!(EncryptionKey::all_in(file).unwrap_err().to_string(), why);
    }
}

// S7
#[test]
fn a_seal_needs_keys_that_can_be_told_apart() {
    let seal = |keys: Vec<EncryptionKey>| EncryptedStore::new(MemoryStore::new(), keys).map(drop);
    assert_eq!(seal(vec![]).unwrap_err().to_string(), "seal keys: there are none");
    let twice = vec![old(), new(), seal_key("old", 9)];
    assert_eq!(seal(twice).unwrap_err().to_string(), "seal keys: two have the same id");
    seal(vec![old(), new()]).unwrap();
}

// X3
#[test]
fn debug_tells_ids_and_no_keys() {
    assert_eq!(format!("{:?}", new()), r#"EncryptionKey { id: "new", key: "**redacted**" }"#);
    assert_eq!(
        format!("{:?}", sealed(&MemoryStore::new(), [new(), old()])),
        r#"EncryptedStore { inner: MemoryStore { entries: 0 }, keys: ["new", "old"] }"#
    );
}
