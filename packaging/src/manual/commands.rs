//! A command line of clap as roff: the synopsis, each command with what it takes, the options of every
//! command. It adds no text of its own but the words between.

use clap::{Arg, ArgAction, Command};
use roff::{Inline, Roff, bold, italic, roman};

/// Calls `visit` with every command, the program itself included, and the words that lead to it.
pub(crate) fn visit(program: &Command, visit: &mut dyn FnMut(&[String], &Command)) {
    fn walk(path: &mut Vec<String>, command: &Command, visit: &mut dyn FnMut(&[String], &Command)) {
        path.push(command.get_name().to_owned());
        visit(path, command);
        for below in command.get_subcommands().filter(|below| is_shown(below)) {
            walk(path, below, visit);
        }
        path.pop();
    }
    walk(&mut Vec::new(), program, visit);
}

/// One line for each command.
pub(super) fn synopsis(program: &Command) -> String {
    let mut roff = Roff::new();
    for_each_command(program, |path, command| {
        roff.control("TP", ["4"]).text(usage(path, command));
    });
    // A paragraph that hangs by its own first line: long ones stay readable.
    roff.to_roff().replace(".TP 4\n", ".HP 4\n")
}

/// A section for each command.
pub(super) fn commands(program: &Command) -> String {
    let mut text = String::new();
    for_each_command(program, |path, command| {
        let mut roff = Roff::new();
        roff.control("SS", [path.join(" ").replace('-', "\\-").as_str()]);
        roff.text(usage(path, command));
        roff.control("PP", []);
        if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
            paragraphs(&mut roff, &format!("{about}."));
        }
        for argument in command.get_arguments().filter(|argument| is_own(argument)) {
            describe(&mut roff, argument);
        }
        text.push_str(&roff.to_roff());
        if let Some(more) = command.get_after_long_help().or_else(|| command.get_after_help()) {
            text.push_str(&as_typed(&more.to_string()));
        }
    });
    text
}

/// The options that every command takes.
pub(super) fn global_options(program: &Command) -> String {
    let mut roff = Roff::new();
    for argument in program.get_arguments() {
        describe(&mut roff, argument);
    }
    roff.to_roff()
}

/// Every command that does something, in the order of the program.
fn for_each_command(program: &Command, mut act: impl FnMut(&[String], &Command)) {
    visit(program, &mut |path, command| {
        if !command.has_subcommands() {
            act(path, command);
        }
    });
}

/// What is typed: the required options first, then the others, then what stands alone.
fn usage(path: &[String], command: &Command) -> Vec<Inline> {
    let own: Vec<&Arg> = command.get_arguments().filter(|argument| is_own(argument)).collect();
    let groups: Vec<Vec<&Arg>> = command
        .get_groups()
        .filter(|group| group.is_required_set())
        .map(|group| {
            let is_member = |argument: &&Arg| group.get_args().any(|id| id == argument.get_id());
            own.iter().copied().filter(is_member).collect()
        })
        .collect();

    let mut line = vec![bold(path.join(" "))];
    for group in &groups {
        for (place, argument) in group.iter().enumerate() {
            line.push(roman(if place == 0 { " {" } else { " | " }));
            line.extend(as_it_is_typed(argument));
        }
        line.push(roman("}"));
    }
    let grouped =
        |argument: &&&Arg| groups.iter().flatten().any(|member| member.get_id() == argument.get_id());
    let others = || own.iter().filter(|argument| !grouped(argument));
    let options = || others().filter(|argument| !argument.is_positional());
    let required = options().filter(|argument| argument.is_required_set());
    let optional = options().filter(|argument| !argument.is_required_set());
    for argument in required.chain(optional).chain(others().filter(|argument| argument.is_positional())) {
        let (open, close) = if argument.is_required_set() { (" ", "") } else { (" [", "]") };
        line.push(roman(open));
        line.extend(as_it_is_typed(argument));
        line.push(roman(close));
        if is_repeatable(argument) {
            line.push(roman("..."));
        }
    }
    line
}

/// An argument with all that is to be said of it.
fn describe(roff: &mut Roff, argument: &Arg) {
    let mut head = as_it_is_typed(argument);
    if let Some(short) = argument.get_short() {
        head.insert(0, roman(", "));
        head.insert(0, bold(format!("-{short}")));
    }
    roff.control("TP", []).text(head);
    if let Some(help) = argument.get_long_help().or_else(|| argument.get_help()) {
        paragraphs(roff, &format!("{help}."));
    }
    let mut facts = Vec::new();
    let takes_values = argument.get_action().takes_values();
    let values = argument.get_possible_values();
    if takes_values && !values.is_empty() {
        facts.push(roman("One of "));
        for (place, value) in values.iter().enumerate() {
            facts.push(roman(if place == 0 { "" } else { ", " }));
            facts.push(bold(value.get_name()));
        }
        facts.push(roman(". "));
    }
    let defaults = argument.get_default_values();
    if takes_values && !defaults.is_empty() {
        let defaults: Vec<_> = defaults.iter().map(|value| value.to_string_lossy()).collect();
        facts.extend([roman("Default: "), bold(defaults.join(" ")), roman(". ")]);
    }
    if is_repeatable(argument) {
        facts.push(roman("May be given several times. "));
    }
    if let Some(variable) = argument.get_env() {
        facts.extend([roman("Variable: "), bold(variable.to_string_lossy()), roman(".")]);
    }
    if !facts.is_empty() {
        roff.text(facts);
    }
}

fn as_it_is_typed(argument: &Arg) -> Vec<Inline> {
    let mut inlines = Vec::new();
    if let Some(long) = argument.get_long() {
        inlines.push(bold(format!("--{long}")));
    }
    let names = argument.get_value_names().map(|names| names.iter().map(ToString::to_string));
    let names: Vec<String> = names.map(Iterator::collect).unwrap_or_default();
    if argument.is_positional() || argument.get_action().takes_values() {
        if argument.get_long().is_some() {
            inlines.push(roman(" "));
        }
        let name = argument.get_id().as_str().to_uppercase();
        inlines.push(italic(if names.is_empty() { name } else { names.join(" ") }));
    }
    inlines
}

/// Text as it stands in the sources: empty lines part paragraphs, backquotes mark what is typed.
fn paragraphs(roff: &mut Roff, text: &str) {
    for (place, paragraph) in text.split("\n\n").enumerate() {
        if place > 0 {
            roff.control("IP", []);
        }
        let marked = paragraph.split('`').enumerate();
        let inlines: Vec<Inline> = marked
            .map(|(place, part)| {
                let part = part.replace('\n', " ");
                if place % 2 == 1 { bold(part) } else { roman(part) }
            })
            .collect();
        roff.text(inlines);
    }
}

/// Text whose lines and columns matter.
fn as_typed(text: &str) -> String {
    let mut roff = Roff::new();
    roff.control("PP", []).control("nf", []);
    for line in text.lines() {
        if line.is_empty() {
            roff.control("sp", []);
        } else {
            roff.text([roman(line)]);
        }
    }
    roff.control("fi", []);
    roff.to_roff().replace('\'', "\\(aq").replace('`', "\\(ga")
}

/// Whether an argument belongs to this command alone.
fn is_own(argument: &Arg) -> bool {
    !argument.is_global_set()
        && !argument.is_hide_set()
        && !matches!(argument.get_action(), ArgAction::Help | ArgAction::HelpLong | ArgAction::Version)
}

fn is_repeatable(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Append)
}

fn is_shown(command: &Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Command {
        let file = Arg::new("file").long("file").value_name("FILE").env("P_FILE").help("What `x` reads");
        let both = Arg::new("id").required(true).help("Whose");
        let state = Arg::new("state-dir").long("state-dir").global(true).help("Where").default_value("/a-b");
        let mut program = Command::new("p")
            .arg(state)
            .subcommand(Command::new("run").about("Does it").arg(file).arg(both).after_long_help(".a  'b'"))
            .subcommand(Command::new("many").subcommand(Command::new("one").about("First\n\nMore")));
        program.build();
        program
    }

    #[test]
    fn a_command_is_described_with_what_it_alone_takes() {
        let expected = ".SS \"p run\"\n\\fBp run\\fR [\\fB\\-\\-file\\fR \\fIFILE\\fR] \\fIID\\fR\n.PP\nDoes it.\n\
            .TP\n\\fB\\-\\-file\\fR \\fIFILE\\fR\nWhat \\fBx\\fR reads.\nVariable: \\fBP_FILE\\fR.\n\
            .TP\n\\fIID\\fR\nWhose.\n.PP\n.nf\n\\&.a  \\(aqb\\(aq\n.fi\n";
        let text = commands(&program());
        assert!(text.starts_with(expected), "{text}");
        assert!(!text.contains("state"), "{text}");
    }

    #[test]
    fn commands_of_commands_stand_with_all_their_words() {
        assert!(
            commands(&program()).contains(".SS \"p many one\"\n\\fBp many one\\fR\n.PP\nFirst\n.IP\nMore.\n")
        );
        assert_eq!(synopsis(&program()).lines().filter(|line| line.contains("\\fBp ")).count(), 2);
    }

    #[test]
    fn the_options_of_every_command_are_told_once_with_their_defaults() {
        let text = global_options(&program());
        assert!(text.contains("\\fB\\-\\-state\\-dir\\fR"), "{text}");
        assert!(text.contains("Default: \\fB/a\\-b\\fR."), "{text}");
    }
}
