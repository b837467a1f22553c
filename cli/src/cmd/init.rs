//! `cairn init`.

use cairn_releng::Site;
use cairn_releng::report::Mode;
use serde::Serialize;

use super::{Context, Exit};
use crate::args::InitArgs;
use crate::output::Table;

#[derive(Serialize)]
struct Document {
    dry_run: bool,
    operation: Option<String>,
    refs: [(); 0],
    store: String,
    id: Option<String>,
    mounts: Vec<MountRow>,
}

#[derive(Serialize)]
struct MountRow {
    name: String,
    path: String,
    pool: String,
    id: String,
    swap: String,
    link: String,
    exchange: bool,
    symlink: bool,
    hardlink: bool,
    reflink: bool,
}

/// Creates the store, or says what would be created.
pub fn run(context: &Context<'_>, args: &InitArgs) -> Exit {
    let config = context.config()?;
    let mut document = Document {
        dry_run: context.mode() == Mode::DryRun,
        operation: None,
        refs: [],
        store: config.store.path.clone(),
        id: None,
        mounts: Vec::new(),
    };
    if context.mode() == Mode::DryRun {
        let specs = cairn_releng::site::mount_specs(&config)?;
        let mut table = Table::default();
        for spec in &specs {
            // Probing writes; a dry run only makes sure that the mount is there.
            cairn_releng::site::open_dir(&spec.path)?;
            table.row([spec.name.clone(), cairn_store::path::display(&spec.path).to_string()]);
        }
        return match context.output.json {
            true => Ok(context.output.document("init", &document).map(|()| 0)?),
            false => {
                let text = format!(
                    "Would create the store {} and probe:\n{}",
                    document.store,
                    table.render("  ", context.output.width)
                );
                Ok(context.output.text(&text).map(|()| 0)?)
            }
        };
    }
    let site = Site::init(config, context.session(Some(&args.reason))?)?;
    document.id = Some(site.store.id().to_owned());
    for name in site.store.mount_names() {
        let mount = site.store.mount(name)?;
        let can = &mount.capabilities;
        document.mounts.push(MountRow {
            name: name.to_owned(),
            path: cairn_store::path::display(&mount.spec.path).to_string(),
            pool: cairn_store::path::display(&mount.spec.pool).to_string(),
            id: mount.id.clone(),
            swap: mount.strategy.to_string(),
            link: mount.link_method().to_owned(),
            exchange: can.exchange,
            symlink: can.symlink,
            hardlink: can.hardlink,
            reflink: can.reflink,
        });
    }
    context.output.notes(site.store.notes());
    if context.output.json {
        return Ok(context.output.document("init", &document).map(|()| 0)?);
    }
    let mut table = Table::default();
    table.row(["mount", "path", "swap", "link"].map(|head| context.output.strong(head)));
    for row in &document.mounts {
        table.row([&row.name, &row.path, &row.swap, &row.link].map(String::clone));
    }
    let text =
        format!("Store {} is ready.\n{}", document.store, table.render("  ", context.output.width));
    Ok(context.output.text(&text).map(|()| 0)?)
}
