use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{
    BoolDeserializer, F64Deserializer, I64Deserializer, MapAccessDeserializer, StrDeserializer, U64Deserializer,
};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// A setting that can be turned off: `"none"`, or what it is set to.
///
/// In an [`Option`], as all settings are, it can also be left out: then it is what the core makes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OrNone<T> {
    /// Turned off.
    None,
    /// Set to this.
    Some(T),
}

impl<T> From<T> for OrNone<T> {
    fn from(value: T) -> Self {
        Self::Some(value)
    }
}

impl<T> OrNone<T> {
    /// What is set here, on top of what is set there.
    pub(crate) fn over(own: Option<Self>, base: Option<Self>, merge: fn(T, T) -> T) -> Option<Self> {
        match (own, base) {
            (Some(Self::Some(own)), Some(Self::Some(base))) => Some(Self::Some(merge(own, base))),
            (Some(own), _) => Some(own),
            (None, base) => base,
        }
    }
}

impl<T: Serialize> Serialize for OrNone<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => to.serialize_str("none"),
            Self::Some(value) => value.serialize(to),
        }
    }
}

/// By hand and not by `#[serde(untagged)]`, which would forget the path of what is wrong.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for OrNone<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Either(PhantomData))
    }
}

struct Either<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
    type Value = OrNone<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a setting, or \"none\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<OrNone<T>, E> {
        match text {
            "none" => Ok(OrNone::None),
            text => T::deserialize(StrDeserializer::new(text)).map(OrNone::Some),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<OrNone<T>, E> {
        T::deserialize(BoolDeserializer::new(value)).map(OrNone::Some)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<OrNone<T>, E> {
        T::deserialize(I64Deserializer::new(number)).map(OrNone::Some)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<OrNone<T>, E> {
        T::deserialize(U64Deserializer::new(number)).map(OrNone::Some)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<OrNone<T>, E> {
        T::deserialize(F64Deserializer::new(number)).map(OrNone::Some)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OrNone<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(OrNone::Some)
    }
}
