use super::*;
use serde_json::json;

#[test]
fn finds_what_a_path_leads_to() {
    let object = json!({
        "spec": {"replicas": 3, "name": "x", "ratio": 1.5, "none": null, "a.b": 1,
            "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}, {"port": 3}]},
        "status": {"conditions": [
            {"type": "Ready", "status": "True", "n": 1},
            {"type": "Other", "status": "False", "n": 2, "x": {"y": 1}}]},
    });
    let check = |path: &str, wanted: Value| {
        let found = JsonPath::parse(path).unwrap().find(&object);
        assert_eq!(found.map(Value::Array).map_err(|error| error.to_string()), Ok(wanted), "{path}");
    };
    check(".spec.replicas", json!([3]));
    check("$.spec.name", json!(["x"]));
    check(".spec.missing.deeper", json!([]));
    check(".spec.none", json!([null]));
    check(".spec['replicas']", json!([3]));
    check(r".spec.a\.b", json!([1]));
    check(r".spec['a\.b']", json!([1]));
    check(".spec.ports[0].port", json!([1]));
    check(".spec.ports[-1].port", json!([3]));
    check(".spec.ports[*].port", json!([1, 2, 3]));
    check(".spec.ports[:].port", json!([1, 2, 3]));
    check(".spec.ports[1:].port", json!([2, 3]));
    check(".spec.ports[:2].port", json!([1, 2]));
    check(".spec.ports[::2].port", json!([1, 3]));
    check(".spec.ports[0,2].port", json!([1, 3]));
    check(".spec.ports[1:1].port", json!([]));
    check(".spec.ports[*].name", json!(["a", "b"]));
    check(".spec.ports[*]['name','port']", json!(["a", "b", 1, 2, 3]));
    check(r#".status.conditions[?(@.type=="Ready")].status"#, json!(["True"]));
    check(r#".status.conditions[?(@.type == 'Other')].status"#, json!(["False"]));
    check(r#".status.conditions[?(@.type!="Ready")].status"#, json!(["False"]));
    check(".status.conditions[?(@.n>1)].type", json!(["Other"]));
    check(".status.conditions[?(@.n<=1)].type", json!(["Ready"]));
    check(".status.conditions[?(@.x)].type", json!(["Other"]));
    check(".status.conditions[?(@.x.y==1)].type", json!(["Other"]));
    check(".spec.ports..port", json!([1, 2, 3]));
    check("..y", json!([1]));
    check(".status.*[0].n", json!([1]));
    check(".spec.replicas.deeper", json!([]));
    check(" .spec.replicas ", json!([3]));
}

#[test]
fn tells_why_a_path_cannot_be_followed() {
    let object = json!({"a": [1, 2], "o": {}, "s": "x"});
    let check = |path: &str, wanted: &str| {
        let error = JsonPath::parse(path).unwrap().find(&object).unwrap_err();
        assert_eq!(error.to_string(), wanted, "{path}");
        assert_eq!(JsonPath::parse(path).unwrap().first(&object), None, "{path}");
    };
    check(".a[2]", "array index out of bounds: index 2, length 2");
    check(".a[-3]", "array index out of bounds: index -1, length 2");
    check(".a[0:3]", "array index out of bounds: index 2, length 2");
    check(".a[1:0]", "starting index 1 is greater than ending index 0");
    check(".a[0:2:0]", "step must be > 0");
    check(".o[0]", "map[string]interface {} is not array or slice");
    check(".a[?(@==\"x\")]", "incompatible types for comparison");
    check(".a[?(@=>1)]", "unrecognized filter operator =>");
    check("range", "unrecognized identifier range");
}

#[test]
fn words_errors_as_kubernetes_does() {
    let check = |path: &str, wanted: &str| {
        assert_eq!(JsonPath::parse(path).unwrap_err().to_string(), wanted, "{path}");
    };
    check(".a[0", "unterminated array");
    check(".a[x]", "invalid array index x");
    check(".a[\"x\"]", "invalid array index \"x\"");
    check(".a[-]", "array index - is not a number");
    check(".a[1:2:3:4]", "invalid array index 1:2:3:4");
    check(".a[?(@.b==1]", "unterminated filter");
    check(".a[?(@.b==1)", "unclosed array expect ]");
    check(".a[?(@.b==\"x)]", "unterminated filter");
    check("'a", "unterminated quoted string");
    check(r"'\q'", r"unquote string '\q' error invalid syntax");
    check("#", "unrecognized character in action: U+0023 '#'");
    check(".a\n", "unclosed action");
    check("....a", "invalid multiple recursive descent");
    check("1.2.3", "cannot parse number 1.2.3");
    check(&"[?(".repeat(40), "unterminated filter");
}

#[test]
fn prints_as_columns_do() {
    let check = |value: Value, wanted: &str| assert_eq!(print(&value), wanted);
    check(json!("x"), "x");
    check(json!(3), "3");
    check(json!(2.0), "2");
    check(json!(true), "true");
    check(json!(null), "<no value>");
    check(json!({"a": [1]}), r#"{"a":[1]}"#);
}

#[test]
fn cells_have_the_type_of_their_column() {
    let check = |ty: &str, value: Value, wanted: Value| assert_eq!(cell(ty, &value), wanted, "{ty} {value}");
    check("integer", json!(3), json!(3));
    check("integer", json!(3.7), json!(3));
    check("integer", json!("3"), json!(null));
    check("number", json!(1.5), json!(1.5));
    check("boolean", json!(true), json!(true));
    check("boolean", json!("true"), json!(null));
    check("string", json!({"a": 1}), json!("{\"a\":1}"));
    check("date", json!("2026-01-01T00:00:00Z"), json!("2026-01-01T00:00:00Z"));
    check("date", json!(5), json!(null));
}
