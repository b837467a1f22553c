//! The command line: names, flags and help, as the command contract has them.
//!
//! It is long because the contract is: one flat list of commands, each with its flags, their help
//! and examples, and nothing that does anything.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A content-addressed repository store with snapshot promotion.
///
/// Composes are ingested once; staging and production are immutable snapshots of them, published
/// by one atomic swap and rolled back by another.
#[derive(Debug, Parser)]
#[command(name = "cairn", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  cairn demo                                   try the whole procedure in a directory of its own
  cairn init                                   create the store, probe the mounts
  cairn ingest /mnt/compose/9/latest-Rocky-9   take a compose in
  cairn stage 9 Rocky --delete                 staging becomes exactly the compose
  cairn diff production/9.7 staging/9.7-RC2 --by packages
  cairn check staging/9.7-RC2                  what would keep it from production?
  cairn promote 9 --delete -n                  print the exact plan
  cairn promote 9 --delete                     staging becomes production, in one swap
  cairn rollback production/9.7                and back";

/// The configuration where neither a flag nor the environment names one.
pub const CONFIG: &str = "/etc/cairn/cairn.toml";

/// Flags that every command understands.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "CAIRN_CONFIG",
        hide_env_values = true,
        default_value = CONFIG
    )]
    pub config: PathBuf,
    /// Print exactly one JSON document on stdout.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print the exact plan and write nothing.
    #[arg(short = 'n', long, global = true)]
    pub dry_run: bool,
    /// How many threads work at once [default: one per core].
    #[arg(short = 'j', global = true, value_name = "N")]
    pub jobs: Option<usize>,
    /// Say nothing but errors.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more; plans list every path.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to use colour.
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub color: Color,
    /// How to show progress on stderr.
    #[arg(long, global = true, value_name = "HOW", value_enum, default_value_t)]
    pub progress: ProgressMode,
    /// How long to wait for another command that holds a lock: 0s, 90s, 15m.
    #[arg(long, global = true, value_name = "DUR", default_value = "5s")]
    pub lock_wait: String,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How to show progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// A bar on a terminal, else nothing.
    #[default]
    Auto,
    /// A line now and then.
    Plain,
    /// A JSON document per line.
    Json,
    /// Nothing.
    Never,
}

/// A reason that the log keeps.
#[derive(Clone, Debug, Args)]
pub struct Reason {
    /// Why, for the log.
    #[arg(short = 'm', long = "reason", value_name = "TEXT")]
    pub reason: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create the store, probe every mount, and say what will be used.
    Init(InitArgs),
    /// Take a compose into the store.
    Ingest(IngestArgs),
    /// Take over a tree that is live already, where it stands.
    Adopt(AdoptArgs),
    /// Put ingested composes into a release's staging view.
    Stage(StageArgs),
    /// Stage all composes of a release as a minor release: media, kickstart trees, links.
    Minor(MinorArgs),
    /// Add advisories to what is staged.
    #[command(subcommand)]
    Errata(ErrataCommand),
    /// Sign what is unsigned or stale in a release's staging view.
    Sign(SignArgs),
    /// Make what is staged production, then write the mirror lists.
    Promote(PromoteArgs),
    /// End the embargo on what was promoted with --embargo.
    Open(OpenArgs),
    /// Copy a version and its SIGs from production to the vault.
    Vault(VaultArgs),
    /// Return a ref and its view to a snapshot that was there before.
    Rollback(RollbackArgs),
    /// Make views equal to their refs; finish what a crash left.
    Publish(PublishArgs),
    /// Write the mirror lists.
    Lists(ListsArgs),
    /// Make the torrents of a release's installation images.
    Torrents(TorrentsArgs),
    /// Show every view: ref, snapshot, what is live, what is pending.
    Status(StatusArgs),
    /// Show the operations, newest first.
    Log(LogArgs),
    /// Show a snapshot or an operation.
    Show(ShowArgs),
    /// Show which operation brought a file to a ref.
    Blame(BlameArgs),
    /// Find where a package, a file or an object is and was, and since when.
    Find(FindArgs),
    /// List what a snapshot holds.
    Ls(LsArgs),
    /// Print a file of a snapshot.
    Cat(CatArgs),
    /// Show what differs between two snapshots.
    Diff(DiffArgs),
    /// Ask the gates about a snapshot: may it go out?
    Check(CheckArgs),
    /// Say that a snapshot may go out, or take that back.
    Approve(ApproveArgs),
    /// Verify the log and its packs, or export them as one signed file.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Say which snapshot a mirror carries, and where it deviates.
    VerifyMirror(VerifyMirrorArgs),
    /// Check the store: log, packs, index, objects, and every live view; repair what can be.
    Fsck(FsckArgs),
    /// Collect what nothing needs any more, in two runs with a grace between them.
    Gc(GcArgs),
    /// Keep a snapshot from being collected; list and release what is held.
    Hold(HoldArgs),
    /// Show what refs cost, alone and shared.
    Du(DuArgs),
    /// Make the metadata of a plain directory: no store, no configuration.
    #[command(subcommand)]
    Repodata(RepodataCommand),
    /// Show or check the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Run a script of the old procedure, as it is printed there.
    Toolkit(ToolkitArgs),
    /// Run the whole procedure on a small real release.
    Demo(DemoArgs),
    /// Print completions for a shell.
    Completion(CompletionArgs),
    /// Write the manual pages.
    Man(ManArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Running it again is safe: what exists is kept, and a new mount is added.

Examples:
  cairn init -n                      are the mounts there?
  cairn init")]
pub struct InitArgs {
    #[command(flatten)]
    pub reason: Reason,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cairn ingest /mnt/compose/9/latest-Rocky-9
  cairn ingest --as compose/9/Extras /mnt/compose/9/Extras-9-updates-20251101.0")]
pub struct IngestArgs {
    /// The compose: its latest-* link, its directory, or the compose directory in it.
    pub dir: PathBuf,
    /// The ref to move [default: guessed from the compose's name].
    #[arg(long = "as", value_name = "REF")]
    pub name: Option<String>,
    /// Hard-link files into the store instead of copying: the compose must never change.
    #[arg(long)]
    pub link: bool,
    /// Read every file, whatever is known of it; puts back what the store has lost.
    #[arg(long)]
    pub reread: bool,
    /// Take a compose whose STATUS is not FINISHED.
    #[arg(long)]
    pub allow_unfinished: bool,
    #[command(flatten)]
    pub reason: Reason,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cairn adopt production/9.7 -n       what is there, and what would be refused
  cairn adopt production/9.7

Nothing of the tree is written to or copied: the pool gets hard links or reflinks. It may be served
meanwhile, and not changed. A run that was interrupted is gone on with by the next.")]
pub struct AdoptArgs {
    /// The ref: production/9.7.
    #[arg(value_name = "REF")]
    pub name: String,
    /// Where the tree is; must be where the ref is published, which is the default.
    pub path: Option<PathBuf>,
    /// Allow that nothing is at the path for a moment, where the filesystem has no other way.
    #[arg(long)]
    pub allow_gap: bool,
    #[command(flatten)]
    pub reason: Reason,
}

/// SIGs that are meant instead of the release.
#[derive(Debug, Args)]
pub struct SigsArgs {
    /// Only this SIG, and not the release; may be given again. To promote: the short name of a
    /// compose means its project only.
    #[arg(long = "sig", value_name = "NAME")]
    pub sigs: Vec<String>,
    /// All SIGs of the release that are there, and not the release.
    #[arg(long, conflicts_with = "sigs")]
    pub all_sigs: bool,
}

/// What verbs that stage may leave out.
#[derive(Debug, Args)]
pub struct StagingGates {
    /// Do not ask this gate of [gate.staging]; may be repeated, and needs -m.
    #[arg(long = "skip-gate", value_name = "GATE")]
    pub skip_gates: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cairn stage 9 Rocky --delete       staging is exactly the compose
  cairn stage 9 Rocky Extras         adds, and keeps what the composes lack
  cairn stage 9 --sig kernel         the compose SIG-kernel, into its project of its SIG
  cairn stage 8 gluster9 --sig storage")]
pub struct StageArgs {
    /// The release: 9, 9-beta, 9-lookahead.
    pub release: String,
    /// The composes, by their short names.
    #[arg(required_unless_present = "sig", value_name = "COMPOSE")]
    pub composes: Vec<String>,
    /// Stage for this SIG: NAME is a SIG compose or, with COMPOSE or for all of them, a SIG.
    #[arg(long, value_name = "NAME")]
    pub sig: Option<String>,
    /// Staging becomes exactly the composes; of a SIG, only their projects do.
    #[arg(long)]
    pub delete: bool,
    #[command(flatten)]
    pub gates: StagingGates,
    #[command(flatten)]
    pub reason: Reason,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The staging view becomes exactly what the release's composes say, laid together: images sorted and
summed, a kickstart tree for each repository with groups, .treeinfo that leads to AppStream, links,
and signatures where [sign] says how. The composes must have been ingested, and are not touched.
Running it again changes nothing.

Examples:
  cairn minor 9 -n                   what would be staged
  cairn minor 9 -m '9.7 RC2'
  cairn minor 9-beta")]
pub struct MinorArgs {
    /// The release: 9, 9-beta, 9-lookahead.
    pub release: String,
    #[command(flatten)]
    pub gates: StagingGates,
    #[command(flatten)]
    pub reason: Reason,
}

/// What can be done with advisories.
#[derive(Debug, Subcommand)]
pub enum ErrataCommand {
    /// Add the advisories of a file or a directory to what is staged.
    Apply(ErrataArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
FROM is one updateinfo.xml, whose advisories go to every repository of the release that has a
package of a name and architecture that they fix, in any version; or a directory with files
ARCH/REPO-updateinfo.xml, each of which goes to REPO/ARCH/os. Files may be compressed with gzip,
xz, zstd or bzip2. Of two advisories with one id the one that was changed last stays. Package
lists keep their bytes; what changed is signed where the configuration says how. With --sig a file
of a directory goes to the one repository of the SIG whose path has parts called ARCH and REPO.

Examples:
  cairn errata apply 9 --from updateinfo.xml.gz -n
  cairn errata apply 9 --from /mnt/compose/9_metadata -m 'advisories of the week'
  cairn errata apply 9 --sig kernel --from kernel-updateinfo.xml")]
pub struct ErrataArgs {
    /// The release: 9, 9-beta, 9-lookahead.
    pub release: String,
    /// The file or directory with the advisories.
    #[arg(long, value_name = "FROM")]
    pub from: PathBuf,
    /// Add them to what is staged for this SIG; the short name of a compose means its project.
    #[arg(long, value_name = "NAME")]
    pub sig: Option<String>,
    #[command(flatten)]
    pub gates: StagingGates,
    #[command(flatten)]
    pub reason: Reason,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A repodata/repomd.xml whose signature verifies with the configured keys keeps it. The others are
signed by [sign] of the configuration, all of them or none: what cannot be signed and verified is
exit code 12, and nothing is published.

Examples:
  cairn sign 9 -n                    which repositories would be signed
  cairn sign 9 -m 'new key'          after sign.verify_key was changed to the new one's
  cairn sign 9 --sig kernel")]
pub struct SignArgs {
    /// The release: 9, 9-beta, 9-lookahead.
    pub release: String,
    /// Sign what is staged for this SIG of the release.
    #[arg(long, value_name = "NAME")]
    pub sig: Option<String>,
    #[command(flatten)]
    pub gates: StagingGates,
    #[command(flatten)]
    pub reason: Reason,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cairn promote 9 -n                 what would change
  cairn promote 9 10 -m 'errata of the week'
  cairn promote 9 --delete --allow-deletes 25%
  cairn promote 9 --sig kernel       the SIG and not the release
  cairn promote 9 --embargo          in place, and for nobody but the group until cairn open
  cairn promote 9 --skip-gate no-downgrade -m 'httpd goes back: CVE-2025-1234 is worse'")]
pub struct PromoteArgs {
    /// The releases; all go in one operation.
    #[arg(required = true, value_name = "RELEASE")]
    pub releases: Vec<String>,
    #[command(flatten)]
    pub sigs: SigsArgs,
    /// Keep others out until cairn open: root directories get mode 0750, the lists say so.
    #[arg(long)]
    pub embargo: bool,
    /// Production becomes exactly staging; without it, what staging lacks is kept.
    #[arg(long)]
    pub delete: bool,
    /// Allow deleting up to this share of the files, instead of the configured one.
    #[arg(long, value_name = "N%")]
    pub allow_deletes: Option<String>,
    /// Do not ask this gate; may be repeated, and needs -m.
    #[arg(long = "skip-gate", value_name = "GATE")]
    pub skip_gates: Vec<String>,
    #[command(flatten)]
    pub reason: Reason,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Nothing moves but the permission of each root directory, and the mirror lists; a rollback closes it
again.

Examples:
  cairn open production/9.7 -n
  cairn open production/9.7 -m 'release day'")]
pub struct OpenArgs {
    /// The refs, in production: production/9.7, production/sig/9/kernel.
    #[arg(required = true, value_name = "REF")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub reason: Reason,
}

#[derive(Debug, Args)]
#[command(after_help = "\
On one mount the copy takes no space: it is the same tree under another ref. Production stays as it
is. Again it is a no-op; a SIG that is in the vault for the version before stays as it was then.

Examples:
  cairn vault 9 -n                   the version before: channel.stable.previous
  cairn vault 9.6 -m '9.7 is out'
  cairn vault 9.6 --no-repodata      metadata is made anew for every repository, and signed
  cairn vault 9.6 --sig kernel       only the SIG")]
pub struct VaultArgs {
    /// The version, 9.6; or the release, 9, for the version before the one that it makes.
    pub release: String,
    #[command(flatten)]
    pub sigs: SigsArgs,
    /// Leave production's metadata behind and make it anew from the packages.
    #[arg(long)]
    pub no_repodata: bool,
    /// Allow deleting up to this share of what is in the vault, instead of the configured one.
    #[arg(long, value_name = "N%")]
    pub allow_deletes: Option<String>,
    #[command(flatten)]
    pub reason: Reason,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cairn rollback production/9.7
  cairn rollback production/9.7 --to production/9.7@2025-11-01 -m 'kernel panics on s390x'")]
pub struct RollbackArgs {
    /// The ref.
    #[arg(value_name = "REF")]
    pub name: String,
    /// The revision to return to [default: the snapshot before].
    #[arg(long, value_name = "REV")]
    pub to: Option<String>,
    #[command(flatten)]
    pub reason: Reason,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cairn publish -n                   which views do not show what their refs name?
  cairn publish
  cairn publish production/9.7")]
pub struct PublishArgs {
    /// The refs [default: all].
    #[arg(value_name = "REF")]
    pub names: Vec<String>,
    /// Remove links beside releases that the configuration names no more, with their refs.
    #[arg(long, conflicts_with = "names")]
    pub remove_links: bool,
    #[command(flatten)]
    pub reason: Reason,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cairn lists -n                     which lists would change?
  cairn lists
  cairn lists production/mirror/pub/rocky")]
pub struct ListsArgs {
    /// The roots, as production/mirror/pub/rocky [default: all].
    #[arg(value_name = "ROOT")]
    pub roots: Vec<String>,
    #[command(flatten)]
    pub reason: Reason,
}

/// Make the torrents of a release's installation images.
///
/// One torrent for each kind of image and architecture, of the image, its manifest and the
/// directory's checksums, so that it has the infohash that mktorrent gives the same files. A torrent
/// that is there and still right is not made again, and its image not read; one whose image was made
/// again under the same name is.
///
/// Nothing is logged: no ref moves.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cairn torrents 9                              into the configured directories
  cairn torrents 9 --out /tmp/t                 only the torrent files, there
  cairn torrents 9.6 --from vault/9.6 --out t   of a release of the past")]
pub struct TorrentsArgs {
    /// The release, or a version of it: 9, 9-beta, 9.6.
    #[arg(value_name = "RELEASE")]
    pub release: String,
    /// Where torrent files go [default: torrent.out, and data where torrent.seed says].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where each torrent gets a directory of links to its data, to seed from.
    #[arg(long, value_name = "DIR")]
    pub seed: Option<PathBuf>,
    /// What they are made of [default: what is staged, else production, else the vault].
    #[arg(long, value_name = "REV")]
    pub from: Option<String>,
    #[command(flatten)]
    pub reason: Reason,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A TIME is 2025-11-01T12:00:00Z, a date in UTC, or how long ago: 36h, 7d. An operation is shown that
every filter accepts.

Examples:
  cairn log production/9.7
  cairn log --release 9 --command promote --since 30d
  cairn log --user mara --since 2025-11-01 --until 2025-11-30")]
pub struct LogArgs {
    /// Only operations that moved this ref.
    #[arg(value_name = "REF")]
    pub name: Option<String>,
    /// How many operations, newest first.
    #[arg(short = 'N', long = "number", value_name = "N")]
    pub number: Option<usize>,
    /// Only those of this user, also where the user became another one.
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Only those at or after this time.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only those at or before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only those that moved a ref of this release: 9, 9-beta.
    #[arg(long, value_name = "RELEASE")]
    pub release: Option<String>,
    /// Only those of this command, such as promote; may be given again.
    #[arg(long = "command", value_name = "COMMAND")]
    pub commands: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Of an operation, what it did to each ref is shown as by cairn diff --by packages.

Examples:
  cairn show production/9.7
  cairn show 42
  cairn show 42 --by all")]
pub struct ShowArgs {
    /// A revision, or an operation's number or id.
    #[arg(value_name = "REV|OP")]
    pub what: String,
    /// How deep to compare what an operation changed [default: packages].
    #[arg(long, value_enum)]
    pub by: Option<By>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
What counts is content. Of a directory every file below it is listed; of one file also where the
operation had it from: staging, and the compose before.

Examples:
  cairn blame production/9.7 BaseOS/x86_64/os/repodata/repomd.xml
  cairn blame production/9.7 BaseOS/x86_64/os/Packages/k")]
pub struct BlameArgs {
    /// The ref.
    #[arg(value_name = "REF")]
    pub name: String,
    /// The file or directory in it.
    pub path: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
WHAT is a package by its name, its NEVRA or a beginning of that; the name of any file; a pattern for
either (*, ?, [abc], {a,b}); a path, which has a / in it; or an object: 64 hex digits. Everything that
a ref ever named is searched, but for snapshots that were collected. Of packages the metadata of every
repo is asked, each only once however many snapshots have it.

Examples:
  cairn find glibc                   every build that any repo ever listed, and where it was when
  cairn find bash-5.1.8-9.el9.x86_64
  cairn find 'openssl-3.5*'
  cairn find BaseOS/x86_64/os/images/boot.iso")]
pub struct FindArgs {
    /// A package, a file's name, a path or an object.
    pub what: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cairn ls production/9.7
  cairn ls -R production/9.7~1:BaseOS/x86_64/os/Packages")]
pub struct LsArgs {
    /// A revision and a path in it: production/9.7:BaseOS/x86_64.
    #[arg(value_name = "REV[:PATH]")]
    pub what: String,
    /// Everything below, too.
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cairn cat production/9.7:BaseOS/x86_64/os/repodata/repomd.xml")]
pub struct CatArgs {
    /// A revision and a file's path in it.
    #[arg(value_name = "REV:PATH")]
    pub what: String,
}

/// The level of a diff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Paths.
    Files,
    /// Packages by name, arch and version, folded by source package.
    Packages,
    /// Metadata: its records, advisories, module streams, comps, treeinfo.
    Metadata,
    /// Everything, with the sizes of repos.
    All,
}

/// The form of a diff.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a terminal.
    #[default]
    Text,
    /// One document, as with --json.
    Json,
    /// For a ticket.
    Markdown,
    /// One page for a browser, which needs nothing beside it.
    Html,
}

#[derive(Debug, Args)]
#[command(after_help = "\
What deserves a look comes first: packages with other bytes under the same version, downgrades, lost \
packages, repos, advisories, module streams, groups and images.

A GLOB knows *, ?, [abc] and {a,b}. One for --repo matches a repo's whole path or some of its \
directories in a row: BaseOS, BaseOS/x86_64, '*/source'.

Examples:
  cairn diff production/9.7 staging/9.7-RC2 --by packages
  cairn diff production/9.7 staging/9.7-RC2 --by all --name 'kernel*' --arch x86_64
  cairn diff production/9.7 staging/9.7-RC2 --format markdown -o ticket.md
  cairn diff production/9.7 staging/9.7-RC2 --format html -o review.html
  cairn diff production/9.7~1 production/9.7 --exit-code")]
pub struct DiffArgs {
    /// The old side.
    #[arg(value_name = "A")]
    pub old: String,
    /// The new side.
    #[arg(value_name = "B")]
    pub new: String,
    /// What to compare [default: files; all for markdown and html].
    #[arg(long, value_enum)]
    pub by: Option<By>,
    /// Only repos whose path matches; may be given again.
    #[arg(long = "repo", value_name = "GLOB")]
    pub repos: Vec<String>,
    /// Only packages of this architecture, and trees of it; may be given again.
    #[arg(long = "arch", value_name = "ARCH")]
    pub arches: Vec<String>,
    /// Only packages, files, modules and groups whose name matches; may be given again.
    #[arg(long = "name", value_name = "GLOB")]
    pub names: Vec<String>,
    /// The form of the report.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Write to FILE, which is replaced when the whole report is there.
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Exit with 3 when there are differences.
    #[arg(long)]
    pub exit_code: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Without a GATE, those run that the environment of REV requires ([gate.staging], [gate.production]), \
else all (docs/gates.md). A staged snapshot is compared with production, any other with what its ref named before. Exit 3 when a gate fails or \
cannot be run.

Examples:
  cairn check staging/9.7-RC2
  cairn check production/9.7~1 repodata treeinfo")]
pub struct CheckArgs {
    /// The snapshot.
    pub rev: String,
    /// The gates [default: those that its environment requires].
    #[arg(value_name = "GATE")]
    pub gates: Vec<String>,
}

/// What can be done with the log as evidence.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Walk the chain of operations and every pack; or check an exported file.
    Verify(AuditVerifyArgs),
    /// Write log and snapshots as one file, signed, which others can check without the store.
    Export(AuditExportArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
A file needs neither store nor configuration: --keys names the public keys. With --since the log in
FILE must continue the log in an older file: who keeps one can tell whether history was rewritten.
Exit 13 when something is not as it was written, 12 when the signature is not good, or is missing
where --keys is given.

Examples:
  cairn audit verify
  cairn audit verify cairn-audit.txt --keys RPM-GPG-KEY-Rocky-9
  cairn audit verify new.txt --since old.txt --keys RPM-GPG-KEY-Rocky-9")]
pub struct AuditVerifyArgs {
    /// An exported file [default: the store].
    pub file: Option<PathBuf>,
    /// Public keys, one of which must have signed it; may be given again.
    #[arg(long, value_name = "FILE", requires = "file")]
    pub keys: Vec<PathBuf>,
    /// An older exported file, which this one must continue.
    #[arg(long, value_name = "OLD", requires = "file")]
    pub since: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
It is signed as [sign] of the configuration says; without that section it is not, and the command
says so.

Examples:
  cairn audit export cairn-audit.txt
  cairn audit export cairn-audit.txt --unsigned")]
pub struct AuditExportArgs {
    /// The file, which is replaced when all of it is there.
    pub file: PathBuf,
    /// Sign as for this release [default: the newest].
    #[arg(long, value_name = "RELEASE")]
    pub release: Option<String>,
    /// Do not sign it.
    #[arg(long)]
    pub unsigned: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
PLACE is the release's directory on the mirror, or its address; http and https are read with curl.
The snapshot is found by the repomd.xml files that are there. Then names and sizes are compared, of
an address by the mirror's own fullfiletimelist, and contents by a sample. Exit 3 when something
deviates.

Examples:
  cairn verify-mirror https://mirror.example.org/rocky/9.7
  cairn verify-mirror /srv/mirror/rocky/9.7 --full
  cairn verify-mirror https://mirror.example.org/pub/el9 production/9.7 --sample 1000")]
pub struct VerifyMirrorArgs {
    /// A directory, or an http or https address.
    pub place: String,
    /// The ref that it mirrors [default: the one that is published under the place's last name].
    #[arg(value_name = "REF")]
    pub name: Option<String>,
    /// Read every file.
    #[arg(long, conflicts_with = "sample")]
    pub full: bool,
    /// How many files are read.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub sample: usize,
}

#[derive(Debug, Args)]
#[command(after_help = "\
An approval is of one snapshot: whatever is staged afterwards is not approved. Where [gate.production] \
approvals = N, a promotion needs N different people; whoever promotes is not one of them, unless \
own_approval = true. Who became another user through sudo counts as who that was.

Examples:
  cairn approve staging/9.7-RC2 -m 'installed it on three machines'
  cairn approve staging/9.7-RC2 --withdraw -m 'the installer hangs on s390x'")]
pub struct ApproveArgs {
    /// The snapshot.
    pub rev: String,
    /// Take your approval back.
    #[arg(long)]
    pub withdraw: bool,
    /// Why; it must be said.
    #[arg(short = 'm', long = "reason", value_name = "TEXT", required = true)]
    pub reason: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cairn fsck                          in seconds: everything but content
  cairn fsck --full --limit 100MiB/s  every hash, beside those who are served
  cairn fsck --full --repair -n       what a repair would do, and with what
  cairn fsck --full --repair

An interrupted full check is gone on with by the next. Exit 3: something differs; 13: damage; with
--repair what is left of it.")]
pub struct FsckArgs {
    /// The log, the packs, the index, and of every object and path all but its content; the default.
    #[arg(long, conflicts_with = "full")]
    pub quick: bool,
    /// Every hash of every object too.
    #[arg(long)]
    pub full: bool,
    /// Put right what can be, keep what is replaced in quarantine, and check again.
    #[arg(long)]
    pub repair: bool,
    /// Read no faster than this in a full check: 100MiB/s, 2GB/s, or bytes a second.
    #[arg(long, value_name = "RATE", requires = "full")]
    pub limit: Option<String>,
    /// Begin a full check anew where an interrupted one would be gone on with.
    #[arg(long, requires = "full")]
    pub restart: bool,
    #[command(flatten)]
    pub reason: Reason,
}

#[derive(Debug, Args)]
#[command(after_help = "\
What no ref, kept publication, hold or tree on a mount needs is condemned first and goes with a later
run, when the grace is over; what goes is in the trash for a while. So one run never removes anything
that was needed the moment before: run it from a timer.

Examples:
  cairn gc -n                        what would go, and what keeps the rest
  cairn gc
  cairn gc --keep-last 3 --keep-within 14d --grace 0s --trash 0s    when disk is short")]
pub struct GcArgs {
    /// Keep so many publications of each ref, the current one among them [default: keep.last].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep_last: Option<u32>,
    /// Keep what refs named within this time [default: keep.within].
    #[arg(long, value_name = "DUR")]
    pub keep_within: Option<String>,
    /// How long something must have been condemned before it goes [default: keep.grace].
    #[arg(long, value_name = "DUR")]
    pub grace: Option<String>,
    /// How long it stays in the trash [default: keep.trash].
    #[arg(long, value_name = "DUR")]
    pub trash: Option<String>,
    #[command(flatten)]
    pub reason: Reason,
}

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  cairn hold production/9.7~2 --as before-openssl -m 'last one with OpenSSL 3.2'
  cairn hold list
  cairn hold release before-openssl"
)]
pub struct HoldArgs {
    #[command(subcommand)]
    pub command: Option<HoldCommand>,
    /// The snapshot to keep.
    #[arg(value_name = "REV", required = true)]
    pub rev: Option<String>,
    /// The hold's name [default: the beginning of the snapshot's id].
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
    /// Why; it must be said.
    #[arg(short = 'm', long = "reason", value_name = "TEXT", required = true)]
    pub reason: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum HoldCommand {
    /// List what is held, since when and why.
    #[command(after_help = "Examples:\n  cairn hold list")]
    List,
    /// Let go of what is held.
    #[command(
        after_help = "Examples:\n  cairn hold release before-openssl -m 'not needed any more'"
    )]
    Release {
        /// The holds, by name.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        reason: Reason,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cairn du
  cairn du production/9.7 vault/9.6")]
pub struct DuArgs {
    /// The refs [default: all].
    #[arg(value_name = "REF")]
    pub names: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the configuration with its defaults filled in.
    #[command(after_help = "Examples:\n  cairn config show\n  cairn config show --origin")]
    Show {
        /// Say where each value comes from.
        #[arg(long)]
        origin: bool,
    },
    /// Check the configuration and name every mistake.
    #[command(after_help = "Examples:\n  cairn --config new.toml config check")]
    Check,
    /// Print a configuration that says what the scripts' common files say.
    #[command(after_help = "\
The files are bash, and only bash knows what they say: --run runs them, as you, by bash --noprofile
--norc with an empty environment, once for each release and channel. Read them before. What they say
and a configuration cannot is a comment on top, and a line on stderr.

Examples:
  cairn config import /root/toolkit/sync --run > cairn.toml; cairn --config cairn.toml config check")]
    Import {
        /// The directory with common, common_8, common_9, …
        dir: PathBuf,
        /// Run the files; without it nothing happens.
        #[arg(long)]
        run: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum RepodataCommand {
    /// Describe exactly the packages below a directory, as createrepo_c does.
    Build(RepodataBuildArgs),
}

/// How metadata is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RepodataCompression {
    /// gzip, which every client reads.
    Gz,
    /// xz: smaller, and slower to write.
    Xz,
    /// Zstandard. Not for EL8.
    Zstd,
    /// bzip2.
    Bz2,
    /// Not at all.
    None,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A package whose location, size and time are in the metadata already is not read again. Comps,
modules, advisories and records of other tools stay, until other ones are given. Where nothing
differs nothing is written. The old metadata is replaced in one step; what is called *.rpm and is no
package stops everything.

Examples:
  cairn repodata build /srv/repo
  cairn repodata build /srv/repo -n            what would be read and written
  cairn repodata build /srv/repo --comps comps.xml --updateinfo errata.xml
  cairn repodata build /srv/repo --distro 'cpe:/o:rocky:rocky:9,Rocky Linux 9' --revision 9
  cairn repodata build /srv/repo --keep-old 24h")]
pub struct RepodataBuildArgs {
    /// The directory that packages are below of, at any depth.
    pub dir: PathBuf,
    /// Read every package, whatever the metadata says of it.
    #[arg(long)]
    pub reread: bool,
    /// The groups of packages [default: those that are there].
    #[arg(long, value_name = "FILE")]
    pub comps: Option<PathBuf>,
    /// Module documents to be added to those that are there.
    #[arg(long, value_name = "FILE")]
    pub modules: Option<PathBuf>,
    /// Advisories to be added to those that are there; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub updateinfo: Vec<PathBuf>,
    /// How to compress [default: as it is there, else gz].
    #[arg(long, value_name = "TYPE", value_enum)]
    pub compression: Option<RepodataCompression>,
    /// What repomd.xml calls this state [default: as it is there, else the newest time in it].
    #[arg(long, value_name = "TEXT")]
    pub revision: Option<String>,
    /// A distribution that the packages are for; may be given several times.
    #[arg(long, value_name = "[CPE,]NAME")]
    pub distro: Vec<String>,
    /// How long metadata files that are replaced stay, for clients with the old repomd.xml.
    #[arg(long, value_name = "DUR", default_value = "0s")]
    pub keep_old: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The release is RLVER (9) and RLREL (stable, beta, lookahead, lh), from the environment or as words of
the line; without RLVER nothing happens. The commands that the line becomes are printed on stderr,
then run one after the other; the first that does not succeed ends it, with its exit code.

Examples:
  RLVER=9 cairn toolkit sync-to-staging.sh Rocky
  cairn toolkit --print RLVER=9 sync-to-prod.delete.sh
  cairn toolkit RLVER=8 sync-to-staging.sh gluster9 storage
  cairn toolkit --install /root/toolkit/sync     then, there: RLVER=9 bash sync-to-prod.sh")]
pub struct ToolkitArgs {
    /// The script, its arguments, and RLVER=N and RLREL=CHANNEL.
    #[arg(value_name = "SCRIPT", required_unless_present = "install")]
    pub words: Vec<String>,
    /// Print the commands on stdout and run none.
    #[arg(long)]
    pub print: bool,
    /// Write a shim for every script's name to DIR, which serves the printed lines word for word.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["words", "print", "reason"])]
    pub install: Option<PathBuf>,
    #[command(flatten)]
    pub reason: Reason,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cairn status
  cairn status --watch               a page to leave open; Ctrl-C ends it
  cairn status --watch 30            looks every 30 seconds
  cairn status --metrics /var/lib/node_exporter/textfile/cairn.prom      from a timer")]
pub struct StatusArgs {
    /// Look again every so many seconds [default: 2], and draw the page anew, until Ctrl-C.
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=86_400),
        conflicts_with = "metrics"
    )]
    pub watch: Option<u64>,
    /// Also write FILE for Prometheus' textfile collector, in one step.
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cairn demo                         in ./cairn-demo
  cairn demo /tmp/try")]
pub struct DemoArgs {
    /// An empty or new directory [default: cairn-demo].
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
In bash, zsh and fish releases, composes, refs, operations, gates and repos are completed too, as the
configuration and the store know them at that moment; nothing is written or locked for it.

Examples:
  cairn completion bash > /etc/bash_completion.d/cairn
  cairn completion zsh > /usr/local/share/zsh/site-functions/_cairn
  cairn completion fish > /etc/fish/completions/cairn.fish")]
pub struct CompletionArgs {
    /// The shell.
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cairn man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// The directory to write to.
    pub dir: PathBuf,
}

#[cfg(test)]
mod examples;
