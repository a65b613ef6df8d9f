//! `skiff image`: the images of this machine.

use anyhow::Context;
use skiff_runtime::{Image, Images};

use crate::args::{ImageArgs, ImageCommand};
use crate::preflight;
use crate::server;

pub(crate) fn run(args: &ImageArgs) -> anyhow::Result<()> {
    preflight::root()?;
    args.layout.layout().create()?;
    server::use_ring();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio.block_on(async {
        let runtime = preflight::runtime(&args.layout.layout())?;
        let images = runtime.images();
        match &args.command {
            ImageCommand::Load { archives } => load(images, archives).await,
            ImageCommand::Pull { reference } => {
                skiff_print::note(format_args!("pulling {reference}"));
                let image = images.pull(reference, &[]).await?;
                skiff_print::line(format_args!("{} {}", reference, image.id.as_str()))?;
                Ok(())
            }
            ImageCommand::List => list(images).await,
            ImageCommand::Remove { references } => {
                for reference in references {
                    images.remove(reference).await?;
                    skiff_print::line(format_args!("removed {reference}"))?;
                }
                Ok(())
            }
        }
    })
}

async fn load(images: &Images, archives: &[std::path::PathBuf]) -> anyhow::Result<()> {
    for archive in archives {
        let loaded = if archive.as_os_str() == "-" {
            images.load_from(std::io::stdin()).await
        } else {
            images.load(archive).await
        };
        let names = loaded.with_context(|| format!("load {}", archive.display()))?;
        for name in names {
            skiff_print::line(format_args!("loaded {name}"))?;
        }
    }
    Ok(())
}

async fn list(images: &Images) -> anyhow::Result<()> {
    let mut lines = vec![format!("{:<56} {:<14} {:>10}", "NAME", "IMAGE ID", "SIZE")];
    for image in images.list().await? {
        for name in names(&image) {
            let id: String = image.id.as_str().trim_start_matches("sha256:").chars().take(12).collect();
            lines.push(format!("{name:<56} {id:<14} {:>10}", size(image.size)));
        }
    }
    Ok(skiff_print::line(lines.join("\n"))?)
}

fn names(image: &Image) -> Vec<&str> {
    if image.names.is_empty() { vec!["<none>"] } else { image.names.iter().map(String::as_str).collect() }
}

/// Bytes as people read them, in powers of 1000 as image tools print them.
fn size(bytes: u64) -> String {
    let mut whole = bytes;
    let mut rest = 0;
    for unit in ["B", "kB", "MB", "GB"] {
        if whole < 1000 {
            return if unit == "B" {
                format!("{whole}{unit}")
            } else {
                format!("{whole}.{}{unit}", rest / 100)
            };
        }
        (whole, rest) = (whole / 1000, whole % 1000);
    }
    format!("{whole}TB")
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn prints_sizes_for_people() {
        assert_eq!([size(12), size(83_400_000), size(1_250_000_000)], ["12B", "83.4MB", "1.2GB"]);
    }
}
