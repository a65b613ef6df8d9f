//! Files read, and what becomes of the tokens of their issuers.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;
use skiff_identity::UserInfo;
use skiff_machinery::strict;
use skiff_schema::Schema;

use super::*;
use crate::authenticator::Source;
use crate::{Keys, Token};

fn read(file: Value) -> Result<Configuration, Vec<String>> {
    let schema = Arc::new(Schema::of_table(SCHEMA));
    let root = schema.root("io.k8s.apiserver.config.AuthenticationConfiguration").unwrap();
    let file = strict::configured(file, &root).unwrap();
    let own = ["https://kubernetes.default.svc".to_owned()];
    Configuration::read(&file, &own).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// An issuer with changes to what a plain one is.
fn jwt(change: impl FnOnce(&mut Value)) -> Value {
    let mut jwt = json!({
        "issuer": {"url": "https://issuer.example", "audiences": ["kubernetes"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
    });
    change(&mut jwt);
    json!({"jwt": [jwt]})
}

#[test]
fn what_is_wrong_is_told_in_kubernetes_words() {
    let check = |change: &dyn Fn(&mut Value), expected: &[&str]| {
        assert_eq!(read(jwt(change)).err().unwrap_or_default(), expected);
    };
    check(&|_| {}, &[]);
    check(&|jwt| jwt["issuer"]["url"] = "".into(), &["jwt[0].issuer.url: Required value"]);
    check(
        &|jwt| jwt["issuer"]["url"] = "https://kubernetes.default.svc".into(),
        &[
            r#"jwt[0].issuer.url: Invalid value: "https://kubernetes.default.svc": URL must not overlap with disallowed issuers: [https://kubernetes.default.svc]"#,
        ],
    );
    check(
        &|jwt| jwt["issuer"]["url"] = "http://u@a?b#c".into(),
        &[
            r#"jwt[0].issuer.url: Invalid value: "http://u@a?b#c": URL scheme must be https"#,
            r#"jwt[0].issuer.url: Invalid value: "http://u@a?b#c": URL must not contain a username or password"#,
            r#"jwt[0].issuer.url: Invalid value: "http://u@a?b#c": URL must not contain a query"#,
            r#"jwt[0].issuer.url: Invalid value: "http://u@a?b#c": URL must not contain a fragment"#,
        ],
    );
    check(
        &|jwt| jwt["issuer"]["discoveryURL"] = "https://issuer.example/".into(),
        &[
            r#"jwt[0].issuer.discoveryURL: Invalid value: "https://issuer.example/": discoveryURL must be different from URL"#,
        ],
    );
    check(
        &|jwt| jwt["issuer"]["audiences"] = json!([]),
        &["jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required"],
    );
    check(
        &|jwt| jwt["issuer"]["audiences"] = json!(["a", "a"]),
        &[
            r#"jwt[0].issuer.audiences[1]: Duplicate value: "a""#,
            r#"jwt[0].issuer.audienceMatchPolicy: Invalid value: "": audienceMatchPolicy must be MatchAny for multiple audiences"#,
        ],
    );
    check(
        &|jwt| jwt["issuer"]["certificateAuthority"] = "x".into(),
        &[
            r#"jwt[0].issuer.certificateAuthority: Invalid value: "<omitted>": data does not contain any valid RSA or ECDSA certificates"#,
        ],
    );
    check(
        &|jwt| jwt["issuer"]["egressSelectorType"] = "etcd".into(),
        &[
            r#"jwt[0].issuer.egressSelectorType: Invalid value: "etcd": egress selector must be either controlplane or cluster"#,
        ],
    );
    check(
        &|jwt| jwt["claimMappings"]["username"] = json!({"claim": "sub"}),
        &[
            "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing",
        ],
    );
    check(
        &|jwt| jwt["claimMappings"]["username"] = json!({}),
        &["jwt[0].claimMappings.username: Required value: claim or expression is required"],
    );
    check(
        &|jwt| jwt["claimMappings"]["username"] = json!({"expression": "claims.email"}),
        &[
            r#"jwt[0].claimMappings.username.expression: Invalid value: "claims.email": claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression"#,
        ],
    );
    check(
        &|jwt| {
            jwt["claimMappings"]["extra"] = json!([
                {"key": "foo", "valueExpression": "'a'"},
                {"key": "a.k8s.io/Foo", "valueExpression": "'a'"},
                {"key": "a.io/b"},
            ]);
        },
        &[
            r#"jwt[0].claimMappings.extra[0].key: Invalid value: "foo": must be a domain-prefixed path (such as "acme.io/foo")"#,
            r#"jwt[0].claimMappings.extra[1].key: Invalid value: "a.k8s.io/Foo": must be lowercase"#,
            r#"jwt[0].claimMappings.extra[1].key: Invalid value: "a.k8s.io/Foo": k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"#,
            "jwt[0].claimMappings.extra[2].valueExpression: Required value",
        ],
    );
    check(
        &|jwt| {
            jwt["claimValidationRules"] = json!([
                {"claim": "a", "expression": "true"}, {}, {"claim": "a", "message": "m"}, {"claim": "a"},
                {"expression": "claims.x", "requiredValue": "r"}, {"expression": "claims.x == 'a'"}, {"expression": "claims.x == 'a'"},
            ]);
        },
        &[
            r#"jwt[0].claimValidationRules[0]: Invalid value: "a": claim and expression can't both be set"#,
            "jwt[0].claimValidationRules[1]: Required value: claim or expression is required",
            r#"jwt[0].claimValidationRules[2].message: Invalid value: "m": may not be specified when claim is set"#,
            r#"jwt[0].claimValidationRules[3].claim: Duplicate value: "a""#,
            r#"jwt[0].claimValidationRules[4].requiredValue: Invalid value: "r": may not be specified when expression is set"#,
            r#"jwt[0].claimValidationRules[4].expression: Invalid value: "claims.x": must evaluate to bool"#,
            r#"jwt[0].claimValidationRules[6].expression: Duplicate value: "claims.x == 'a'""#,
        ],
    );
    check(
        &|jwt| jwt["userValidationRules"] = json!([{"expression": "user.name == 'a'"}]),
        &[
            "jwt[0].userValidationRules[0].expression: Invalid value: \"user.name == 'a'\": compilation failed: ERROR: <input>:1:5: undefined field 'name'\n | user.name == 'a'\n | ....^",
        ],
    );
    let anonymous = read(json!({"anonymous": {"conditions": [{"path": "/livez"}]}})).unwrap_err();
    assert!(
        anonymous[0].ends_with("enabled should be set to true when conditions are defined"),
        "{anonymous:?}"
    );
    let twice = json!([jwt(|_| {})["jwt"][0], jwt(|_| {})["jwt"][0]]);
    assert_eq!(
        read(json!({"jwt": twice})).unwrap_err(),
        [r#"jwt[1].issuer.url: Duplicate value: "https://issuer.example""#]
    );
}

#[test]
fn strangers_may_come_to_some_paths() {
    let read = |file: Value| read(file).unwrap().anonymous;
    assert_eq!(read(json!({})), None);
    let paths = ["/livez".to_owned()].into();
    let file = json!({"anonymous": {"enabled": true, "conditions": [{"path": "/livez"}]}});
    assert_eq!(read(file), Some(Anonymous { enabled: true, paths }));
    let off = Some(Anonymous { enabled: false, paths: BTreeSet::new() });
    assert_eq!(read(json!({"anonymous": {"enabled": false}})), off);
}

/// Signs tokens.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Self(pair.unwrap())
    }

    fn keys(&self) -> Keys {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let served = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y}]});
        Keys::read(served.to_string().as_bytes()).unwrap()
    }

    fn token(&self, claims: &Value) -> Token {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"k"}"#),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        Token::read(&format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))).unwrap()
    }
}

fn user_of(file: Value, more: Value) -> Result<UserInfo, String> {
    let signer = Signer::new();
    let mut claims = json!({"iss": "https://issuer.example", "aud": "kubernetes", "exp": 2000, "sub": "bob"});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let read = read(file).unwrap();
    proved(&read.issuers[0], &signer.token(&claims), &signer.keys())
}

fn proved(issuer: &Authenticator, token: &Token, keys: &Keys) -> Result<UserInfo, String> {
    let claims = issuer.verify(token, keys, Timestamp::from_second(1000).unwrap());
    issuer.user(&claims.map_err(|why| format!("oidc: verify token: {why}"))?)
}

#[test]
fn claims_make_a_user() {
    let file = jwt(|jwt| {
        jwt["claimMappings"] = json!({
            "username": {"claim": "sub", "prefix": "oidc:"},
            "groups": {"claim": "roles", "prefix": "r:"},
            "uid": {"claim": "id"},
            "extra": [{"key": "acme.io/team", "valueExpression": "claims.teams.filter(t, t != 'x')"},
                      {"key": "acme.io/none", "valueExpression": "claims.?missing.orValue('')"}],
        });
    });
    let user = user_of(file.clone(), json!({"roles": ["a", "b"], "id": "7", "teams": ["x", "y"]})).unwrap();
    assert_eq!((&*user.name, &*user.uid), ("oidc:bob", "7"));
    assert_eq!(user.groups, ["r:a", "r:b", "system:authenticated"]);
    assert_eq!(user.extra, [("acme.io/team".to_owned(), vec!["y".to_owned()])].into());
    let one = user_of(file.clone(), json!({"roles": "a", "id": "7", "teams": []})).unwrap();
    assert_eq!(one.groups, ["r:a", "system:authenticated"]);
    let why = user_of(file.clone(), json!({"roles": [1], "id": "7", "teams": []})).unwrap_err();
    assert!(why.starts_with(r#"oidc: parse groups claim "roles""#), "{why}");
    let why = user_of(file.clone(), json!({"teams": []})).unwrap_err();
    assert_eq!(why, r#"oidc: parse uid claim "id": claim not present"#);
    let why = user_of(file, json!({"id": "7"})).unwrap_err();
    assert!(
        why.contains("oidc: error evaluating extra claim expression") && why.contains("no such key: teams"),
        "{why}"
    );
}

#[test]
fn expressions_make_a_user() {
    let file = jwt(|jwt| {
        jwt["claimMappings"] = json!({
            "username": {"expression": "claims.email_verified ? claims.email : 'nobody'"},
            "groups": {"expression": "claims.realm.roles.map(r, 'k:' + r)"},
            "uid": {"expression": "string(claims.number)"},
        });
        jwt["claimValidationRules"] =
            json!([{"expression": "claims.exp - claims.iat <= 3600", "message": "too long"}]);
        jwt["userValidationRules"] =
            json!([{"expression": "!user.username.startsWith('system:')", "message": "reserved"}]);
    });
    let claims = |email: &str, iat: i64| json!({"email": email, "email_verified": true, "realm": {"roles": ["a"]}, "number": 7, "iat": iat});
    let user = user_of(file.clone(), claims("b@c", 1000)).unwrap();
    assert_eq!((&*user.name, &*user.uid), ("b@c", "7"));
    assert_eq!(user.groups, ["k:a", "system:authenticated"]);
    assert_eq!(
        user_of(file.clone(), claims("b@c", -9000)).unwrap_err(),
        "oidc: error evaluating claim validation expression: validation expression 'claims.exp - claims.iat <= 3600' failed: too long"
    );
    assert_eq!(
        user_of(file, claims("system:x", 1000)).unwrap_err(),
        "oidc: error evaluating user info validation rule: validation expression '!user.username.startsWith('system:')' failed: reserved"
    );
}

#[test]
fn tokens_must_be_signed_and_for_this_cluster() {
    let check = |more: Value, expected: &str| {
        let why = user_of(jwt(|_| {}), more).unwrap_err();
        assert!(why.contains(expected), "{why}");
    };
    check(
        json!({"aud": "other"}),
        r#"oidc: verify token: oidc: expected audience "kubernetes" got ["other"]"#,
    );
    check(json!({"exp": 10}), "oidc: token is expired");
    let read = read(jwt(|_| {})).unwrap();
    let signer = Signer::new();
    let token = signer.token(&json!({"aud": "kubernetes", "exp": 2000, "sub": "bob"}));
    assert_eq!(proved(&read.issuers[0], &token, &signer.keys()).unwrap().name, "bob");
    let why = proved(&read.issuers[0], &token, &Signer::new().keys()).unwrap_err();
    assert_eq!(why, "oidc: verify token: failed to verify signature: failed to verify id token signature");
    let unsigned = Token { algorithm: "none".to_owned(), ..token };
    let why = proved(&read.issuers[0], &unsigned, &signer.keys()).unwrap_err();
    assert!(why.contains("unsupported algorithm"), "{why}");
}

#[test]
fn groups_may_be_said_elsewhere() {
    let groups = |mapping: Value| read(jwt(|jwt| jwt["claimMappings"]["groups"] = mapping)).unwrap();
    let by_claim = groups(json!({"claim": "groups", "prefix": "g:"}));
    let issuer = &by_claim.issuers[0];
    let (signer, now) = (Signer::new(), Timestamp::from_second(1000).unwrap());
    let claims = |issuer: &Authenticator, more: Value| {
        let mut claims = json!({
            "aud": "kubernetes", "exp": 2000, "sub": "bob", "_claim_names": {"groups": "s"},
            "_claim_sources": {"s": {"endpoint": "https://groups", "access_token": "t"}},
        });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        issuer.verify(&signer.token(&claims), &signer.keys(), now).unwrap()
    };
    let mut bobs = claims(issuer, json!({}));
    let source = issuer.groups_elsewhere(&bobs).unwrap();
    assert_eq!((&*source.url, &*source.access_token), ("https://groups", "t"));
    assert_eq!(issuer.user(&bobs).unwrap().groups, ["system:authenticated"]);
    issuer.take_groups(&mut bobs, &claims(issuer, json!({"groups": ["a"]})), &source.url).unwrap();
    assert_eq!(issuer.user(&bobs).unwrap().groups, ["g:a", "system:authenticated"]);
    let why = issuer.take_groups(&mut bobs, &claims(issuer, json!({})), &source.url).unwrap_err();
    assert_eq!(
        why,
        r#"jwt returned by distributed claim endpoint "https://groups" did not contain claim: groups"#
    );
    // What the token says itself counts, and expressions say nothing of where groups are.
    assert_eq!(issuer.groups_elsewhere(&claims(issuer, json!({"groups": null}))), None);
    let by_expression = groups(json!({"expression": "claims.?groups.orValue([])"}));
    let issuer = &by_expression.issuers[0];
    assert_eq!(issuer.groups_elsewhere(&claims(issuer, json!({}))), None);
}

#[test]
fn claims_can_be_required() {
    let file =
        || jwt(|jwt| jwt["claimValidationRules"] = json!([{"claim": "hd", "requiredValue": "example.com"}]));
    assert!(user_of(file(), json!({"hd": "example.com"})).is_ok());
    assert_eq!(
        user_of(file(), json!({"hd": "x"})).unwrap_err(),
        "oidc: required claim hd value does not match. Got = x, want = example.com"
    );
    assert_eq!(user_of(file(), json!({})).unwrap_err(), "oidc: required claim hd not present in ID token");
}

#[test]
fn the_older_options_say_the_same() {
    let flags = Flags {
        issuer: "https://issuer.example".to_owned(),
        client: "kubernetes".to_owned(),
        username_claim: "sub".to_owned(),
        groups_claim: "groups".to_owned(),
        algorithms: vec!["RS256".to_owned()],
        ..Flags::default()
    };
    let read = flags.configuration(&[]).unwrap();
    let Source::Claim { name, prefix } = &read.issuers[0].mapping.username else { panic!("an expression") };
    assert_eq!((&**name, &**prefix), ("sub", "https://issuer.example#"));
    assert_eq!(read.issuers[0].algorithms, ["RS256"]);
    let odd = Flags { algorithms: vec!["HS256".to_owned()], ..flags };
    assert_eq!(odd.configuration(&[]).unwrap_err(), r#"oidc: unsupported signing alg: "HS256""#);
}
