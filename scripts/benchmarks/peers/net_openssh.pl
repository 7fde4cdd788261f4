# Net::OpenSSH, asked by lines of JSON, as driver.py is: it starts `ssh -S`, too, but from Perl.
use strict;
use warnings;
use JSON::PP;
use Net::OpenSSH;
use Time::HiRes qw(clock time);

my ($account, @connections);
$| = 1;

sub dial {
    my $ssh = Net::OpenSSH->new(
        $account->{host},
        port => $account->{port},
        user => $account->{username},
        key_path => $account->{key_file},
        batch_mode => 1,
        master_opts => [
            '-F', 'none', '-o', "UserKnownHostsFile=$account->{known_hosts}",
            '-o', 'StrictHostKeyChecking=yes', '-o', 'IdentitiesOnly=yes',
        ],
        default_ssh_opts => ['-F', 'none'],
    );
    die 'cannot log in: ' . $ssh->error . "\n" if $ssh->error;
    return $ssh;
}

sub cpu { return clock() }    # this Perl's own, without its children's; `times` counts in 10 ms

sub median {
    my @sorted = sort { $a <=> $b } @_;
    return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}

sub run {
    my ($ssh, $command, $input, $output) = @_;
    my %options = length $input ? (stdin_data => $input) : (stdin_discard => 1);
    my $found = $ssh->capture(\%options, $command);
    die 'the command failed: ' . $ssh->error . "\n" if $ssh->error;
    die length($found) . " bytes came, not $output\n" if length($found) != $output;
}

# Without input and output: only then does it leave the waiting to us.
sub spawned {
    my ($tasks, $count, $command) = @_;
    my ($begun, $running) = (0, 0);
    while ($begun < $count || $running) {
        if ($begun < $count && $running < $tasks) {
            my $ssh = $connections[$begun++ % @connections];
            $ssh->spawn({ stdin_discard => 1, stdout_discard => 1 }, $command)
                or die 'cannot start: ' . $ssh->error . "\n";
            $running++;
        } else {
            wait;
            die "a command failed\n" if $?;
            $running--;
        }
    }
}

my %jobs = (
    connect => sub {
        my $wanted = shift;
        $account = $wanted;
        @connections = map { dial() } 1 .. $wanted->{connections};
        return {};
    },
    sequential => sub {
        my $wanted = shift;
        my @took;
        my $cpu = cpu();
        for (1 .. $wanted->{count}) {
            my $begun = time;
            run($connections[0], $wanted->{command}, '', 0);
            push @took, time - $begun;
        }
        return { p50 => median(@took), own_cpu => (cpu() - $cpu) / $wanted->{count} };
    },
    crowd => sub {
        my $wanted = shift;
        my ($begun, $cpu) = (time, cpu());
        my $input = "\0" x $wanted->{input};
        if ($wanted->{tasks} == 1) {
            run($connections[0], $wanted->{command}, $input, $wanted->{output})
                for 1 .. $wanted->{count};
        } else {
            die "it cannot talk to several at once\n" if $wanted->{input} || $wanted->{output};
            spawned(@$wanted{qw(tasks count command)});
        }
        return { seconds => time - $begun, own_cpu => (cpu() - $cpu) / $wanted->{count} };
    },
    dial => sub {
        my $wanted = shift;
        my (@took, @opened);
        my ($begun, $cpu) = (time, cpu());
        for (1 .. $wanted->{count}) {
            my $one = time;
            push @opened, dial();
            push @took, time - $one;
        }
        my $seconds = time - $begun;
        return {
            open => median(@took),
            seconds => $seconds,
            cpu => (cpu() - $cpu) / $wanted->{count},
        };
    },
);

while (my $line = <STDIN>) {
    my $wanted = decode_json($line);
    my $answer = eval { $jobs{ $wanted->{job} }->($wanted) };
    if (!defined $answer) {
        my $error = $@;
        chomp $error;
        $answer = { error => $error };
    }
    print encode_json($answer), "\n";
}
