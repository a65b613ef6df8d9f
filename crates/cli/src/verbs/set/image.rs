//! `set image`.

use serde_json::{Value, json};

use super::{SET, Told, change_each, refused, split};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Given};
use crate::pods;
use crate::print::objects::PRINT;
use crate::select::{ALL, FILENAME, FILES, SELECTOR};

pub(super) const COMMAND: Command = Command::new(
    "image",
    "(-f FILENAME | TYPE NAME) CONTAINER_NAME_1=CONTAINER_IMAGE_1 ... CONTAINER_NAME_N=CONTAINER_IMAGE_N",
    "Set the images of containers",
)
.examples(
    "# Of one container, and of all
     kubectl set image deployment/kubia kubia=luksa/kubia:v2
     kubectl set image deployment/kubia *=luksa/kubia:v2",
)
.flags(&[FILES, PRINT, SET])
.run(|cx, given| Box::pin(run(cx, given)));

const TOLD: Told = Told { done: "image updated", failed: "failed to patch image update to pod template: " };

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let (resources, pairs) = split(&given.words, "image")?;
    let images: Vec<(&str, &str)> = pairs
        .iter()
        .map(|pair| pair.split_once('=').filter(|(_, image)| !image.is_empty()))
        .collect::<Option<_>>()
        .ok_or_else(|| Error::Usage(format!("invalid image format: {}", pairs.join(" "))))?;
    let mut wrong = Vec::new();
    if given.is_on(&ALL) && given.is_given(&SELECTOR) {
        wrong.push(Error::usage("cannot set --all and --selector at the same time"));
    }
    if resources.is_empty() && !given.is_given(&FILENAME) {
        wrong.push(Error::usage(
            "one or more resources must be specified as <resource> <name> or <resource>/<name>",
        ));
    }
    if images.is_empty() {
        wrong.push(Error::usage("at least one image update is required"));
    } else if images.len() > 1 && images.iter().any(|(name, _)| *name == "*") {
        wrong.push(Error::usage("all containers are already specified by *, but saw more than one container_name=container_image pairs"));
    }
    Error::all(wrong)?;
    change_each(cx, given, resources, TOLD, |object| set(object, &images)).await
}

fn set(object: &mut Value, images: &[(&str, &str)]) -> Result<(), Error> {
    if let Err(why) = pods::spec_mut(object) {
        return Err(refused(object, &why));
    }
    let spec = pods::spec_mut(object).map_err(Error::Usage)?;
    let mut missing = Vec::new();
    for (name, image) in images {
        let mut found = false;
        for container in pods::containers_mut(spec, "*") {
            if *name == "*" || container["name"] == *name {
                container["image"] = json!(image);
                found = true;
            }
        }
        if !found {
            missing.push(Error::Usage(format!("unable to find container named \"{name}\"")));
        }
    }
    Error::all(missing)
}

#[cfg(test)]
mod tests {
    use super::set;
    use serde_json::json;

    #[test]
    fn sets_images_by_name_or_of_all() {
        let pod = || json!({"kind": "Pod", "apiVersion": "v1", "spec": {"containers": [{"name": "a", "image": "x"}], "initContainers": [{"name": "b", "image": "x"}]}});
        let check = |images: &[(&str, &str)], expected: Result<[&str; 2], &str>| {
            let mut pod = pod();
            let done = set(&mut pod, images).map_err(|error| error.to_string());
            let images = [&pod["spec"]["containers"][0]["image"], &pod["spec"]["initContainers"][0]["image"]];
            match expected {
                Ok(expected) => assert_eq!(images, expected),
                Err(text) => assert_eq!(done, Err(text.to_owned())),
            }
        };
        check(&[("a", "y")], Ok(["y", "x"]));
        check(&[("*", "y")], Ok(["y", "y"]));
        check(&[("c", "y")], Err("error: unable to find container named \"c\""));
    }
}
