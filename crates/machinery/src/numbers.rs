//! Numbers of JSON, as Go has them that does not tell `1.0` from `1`.

use serde_json::Value;

/// Writes numbers without a fraction as the integers that they are, however they are spelled, as Go does that has but one type for them.
pub fn integers(value: &mut Value) {
    // Those that integers of 64 bits and floating points share.
    const SHARED: f64 = 9.2e18;
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < SHARED);
            #[allow(clippy::cast_possible_truncation, reason = "it has no fraction, and is small enough")]
            if let Some(float) = whole {
                *value = Value::from(float as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(integers),
        Value::Object(map) => map.values_mut().for_each(integers),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whole_numbers_are_written_as_such() {
        let mut value = json!({"a": [1.0, -2.0, 1.5, 1e3, 1e30], "b": {"c": 3.0}});
        integers(&mut value);
        assert_eq!(value.to_string(), r#"{"a":[1,-2,1.5,1000,1e+30],"b":{"c":3}}"#);
    }
}
