//! `create deployment`.

use serde_json::{Value, json};

use super::{CREATE, Kind, container};
use crate::error::Error;
use crate::line::{Command, Flag, Given};
use crate::print::objects::PRINT;

const IMAGE: Flag = Flag::list("image", "Image of the container; several make as many containers").required();
const PORT: Flag = Flag::number("port", "-1", "Port that the first container serves");
const REPLICAS: Flag = Flag::number("replicas", "1", "Number of pods").short('r');

pub(super) const COMMAND: Command =
    Command::new("deployment", "NAME --image=image -- [COMMAND] [args...]", "Create a Deployment")
        .aliases(&["deploy"])
        .examples(
            "# Three pods of an image
             kubectl create deployment kubia --image=luksa/kubia --replicas=3 --port=8080
             # With a command
             kubectl create deployment clock --image=busybox -- date",
        )
        .flags(&[&[IMAGE, PORT, REPLICAS], PRINT, CREATE])
        .run(|cx, given| Box::pin(async move { KIND.send(cx, given, make(given)?).await }));

const KIND: Kind = Kind::namespaced("deployments", "failed to create deployment: ");

fn make(given: &Given) -> Result<Value, Error> {
    let (name, images, command) = (given.name()?, given.all(&IMAGE), given.after_dash());
    if images.len() > 1 && !command.is_empty() {
        return Err(Error::usage("cannot specify multiple --image options and command"));
    }
    let mut containers: Vec<Value> =
        images.iter().map(|image| container(&container_name(image), image, command)).collect();
    let port = given.number(&PORT);
    if let Some(first) = containers.first_mut().filter(|_| port >= 0) {
        first["ports"] = json!([{"containerPort": port}]);
    }
    let labels = json!({"app": name});
    Ok(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": given.number(&REPLICAS),
            "selector": {"matchLabels": labels},
            "strategy": {},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
        "status": {},
    }))
}

/// The image's own name. What a name of a container cannot have in it is replaced, and then the name gets an end of its own.
fn container_name(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    let name = name.split([':', '@']).next().unwrap_or(name);
    if !name.contains(['_', '.']) {
        return name.to_owned();
    }
    let sum = image
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let end: String = (0..5_u32)
        .map(|at| char::from(LETTERS[usize::try_from((sum >> (at * 8)) % 27).unwrap_or_default()]))
        .collect();
    format!("{}-{end}", name.replace(['_', '.'], "-"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::made;
    use super::make;

    #[test]
    fn makes_what_kubectl_makes() {
        let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  labels:\n    app: web\n  name: web\nspec:\n  replicas: 3\n  selector:\n    matchLabels:\n      app: web\n  strategy: {}\n  template:\n    metadata:\n      labels:\n        app: web\n    spec:\n      containers:\n      - image: r.example/luksa/kubia:v1\n        name: kubia\n        ports:\n        - containerPort: 80\n        resources: {}\nstatus: {}\n";
        assert_eq!(
            made("deployment web --image=r.example/luksa/kubia:v1 --replicas=3 --port=80", make),
            text
        );
        let command = made("deploy web --image=a -- date -u", make);
        assert!(
            command.contains("      - command:\n        - date\n        - -u\n        image: a\n"),
            "{command}"
        );
        assert_eq!(
            made("deploy web --image=a,b -- date", make),
            "error: cannot specify multiple --image options and command"
        );
    }

    #[test]
    fn names_of_containers_are_valid() {
        let name = super::container_name("x/my_image.v1:2");
        assert!(name.starts_with("my-image-v1-") && name.len() == "my-image-v1-".len() + 5, "{name}");
        assert_eq!(super::container_name("x/a@sha256:0"), "a");
    }
}
