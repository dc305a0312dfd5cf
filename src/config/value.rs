//! Holds values of any format, which are checked so that errors name the field.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

/// The only key of a number, if another crate enables `arbitrary_precision` of `serde_json`.
const PRECISE_NUMBER: &str = "$serde_json::private::Number";

/// The only key of a date in TOML.
const TOML_DATE: &str = "$__toml_private_datetime";

/// A value as a format describes it.
///
/// The `Deserialize` implementations that serde derives quote invalid values in their errors, which
/// may be secrets. So everything is read into this type first. It has no `Debug`, because it holds
/// secrets.
pub(super) enum Value {
    /// No value, which counts as an absent field.
    Null,
    Bool(bool),
    Integer(i128),
    Fraction(f64),
    /// Another value, such as a date or bytes. No field takes one.
    Other,
    Text(Zeroizing<String>),
    List(Vec<Value>),
    Table(Vec<(String, Value)>),
}

impl Value {
    /// Returns the same value of JSON. An error is a predicate that quotes nothing.
    pub(super) fn into_json(self) -> Result<serde_json::Value, &'static str> {
        const NOT_IN_JSON: &str = "has a value that JSON does not have: put it into quotes";
        Ok(match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => value.into(),
            Self::Integer(value) => match (i64::try_from(value), u64::try_from(value)) {
                (Ok(value), _) => value.into(),
                (_, Ok(value)) => value.into(),
                _ => return Err(NOT_IN_JSON),
            },
            Self::Fraction(value) => serde_json::Number::from_f64(value).ok_or(NOT_IN_JSON)?.into(),
            Self::Other => return Err(NOT_IN_JSON),
            Self::Text(mut text) => std::mem::take(&mut *text).into(),
            Self::List(items) => {
                items.into_iter().map(Self::into_json).collect::<Result<_, _>>()?
            }
            Self::Table(entries) => {
                let mut members = serde_json::Map::new();
                for (name, value) in entries {
                    if members.insert(name, value.into_json()?).is_some() {
                        return Err("has a member twice");
                    }
                }
                members.into()
            }
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// The name of an entry of a table.
///
/// The implementation for `String` quotes a name of another type in its error. A value such as
/// `{1234}` may be a secret with braces around it.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Text(mut text) => Ok(Self(std::mem::take(&mut *text))),
            Value::Integer(number) => Ok(Self(number.to_string())),
            _ => Err(D::Error::custom("the names in a table must be texts")),
        }
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, a list or a table")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(i128::try_from(value).map_or(Value::Other, Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Fraction(value))
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(Zeroizing::new(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut table = Vec::new();
        while let Some((Name(name), value)) = entries.next_entry()? {
            table.push((name, value));
        }
        Ok(match &*table {
            [(name, Value::Text(digits))] if name == PRECISE_NUMBER => {
                let fraction = || digits.parse().map_or(Value::Other, Value::Fraction);
                digits.parse().map_or_else(|_| fraction(), Value::Integer)
            }
            [(name, _)] if name == TOML_DATE => Value::Other,
            _ => Value::Table(table),
        })
    }
}
