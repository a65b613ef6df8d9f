//! Values as JSON.

use base64::Engine as _;
use serde_json::{Map as JsonMap, Number, Value as Json};

use crate::error::EvalError;

use super::{Key, Meter, Value};

/// Work that counts for each part: parts of JSON take memory.
const STEPS: usize = 4;

impl Value<'_> {
    /// The value as JSON, for results that become part of an object: field names are no longer escaped.
    ///
    /// # Errors
    /// When it has no form in JSON, like a type; or when it is absurdly large.
    pub fn to_json(&self) -> Result<Json, EvalError> {
        self.write(&mut Meter::new(0))
    }

    fn write(&self, meter: &mut Meter) -> Result<Json, EvalError> {
        meter.work(STEPS)?;
        let impossible = |of: &str| EvalError::new(format!("no conversion of '{of}' to JSON"));
        Ok(match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::from(*value),
            Self::Uint(value) => Json::from(*value),
            Self::Double(value) => {
                Number::from_f64(*value).map(Json::Number).ok_or_else(|| impossible("double"))?
            }
            Self::String(text) => Json::from(&**text),
            Self::Bytes(bytes) => Json::from(base64::engine::general_purpose::STANDARD.encode(bytes)),
            Self::Duration(duration) => Json::from(duration.seconds_text()),
            Self::Timestamp(time) => Json::from(time.to_string()),
            Self::Optional(Some(value)) => value.write(meter)?,
            Self::Optional(None) => Json::Null,
            Self::List(list) => {
                Json::Array(list.iter().map(|value| value?.write(meter)).collect::<Result<_, _>>()?)
            }
            Self::Map(map) => {
                let mut object = JsonMap::new();
                for key in map.keys() {
                    let name = match Key::of(&key) {
                        Some(Key::String(name)) => map.json_name(&name),
                        _ => key.to_string(),
                    };
                    if let Some(value) = map.get(&key) {
                        object.insert(name, value?.write(meter)?);
                    }
                }
                Json::Object(object)
            }
            Self::Object(made) => {
                let mut object = JsonMap::new();
                for (name, value) in &made.fields {
                    let name = crate::unescape(name).unwrap_or_else(|| name.clone());
                    object.insert(name, value.write(meter)?);
                }
                Json::Object(object)
            }
            other => return Err(impossible(other.type_of().runtime_name())),
        })
    }
}
