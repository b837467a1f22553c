//! `cairn torrents`: the torrents of installation images.

use std::fmt::Write as _;

use cairn_releng::verbs::{self, TorrentOptions, TorrentReport, TorrentState};

use super::report::render;
use super::{Context, Exit};
use crate::args::TorrentsArgs;
use crate::output::{Output, size};

/// Runs `cairn torrents`.
pub fn run(context: &Context<'_>, args: &TorrentsArgs) -> Exit {
    let options = TorrentOptions {
        out: args.out.clone(),
        seed: args.seed.clone(),
        from: args.from.clone(),
        mode: context.mode(),
    };
    let site = context.site(Some(&args.reason))?;
    render(context, verbs::torrents(&site, &args.release, &options, &context.progress)?, site)
}

/// Says what became of each torrent.
pub fn text(output: &Output, torrents: &[TorrentReport], dry_run: bool) -> String {
    let mut text = String::new();
    for torrent in torrents {
        let state = match (torrent.state, dry_run) {
            (TorrentState::Unchanged, _) => "up to date".to_owned(),
            (TorrentState::Made, true) => output.good("to be made"),
            (TorrentState::Made, false) => output.good("made"),
            (TorrentState::Remade, true) => output.warn("to be made again"),
            (TorrentState::Remade, false) => output.warn("made again"),
        };
        let _ =
            writeln!(text, "{}  {state}, {}", output.strong(&torrent.name), size(torrent.bytes));
        let _ = writeln!(text, "  file   {}", torrent.path);
        if let Some(infohash) = &torrent.infohash {
            let _ = writeln!(text, "  v1     {infohash}");
        }
        if let Some(infohash) = &torrent.infohash_v2 {
            let _ = writeln!(text, "  v2     {infohash}");
        }
        if let Some(seed) = &torrent.seed {
            let _ = writeln!(text, "  data   {seed}");
        }
    }
    text
}
