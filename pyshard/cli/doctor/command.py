import click


@click.command()
def doctor():
    "Check the cluster and this machine, and say what to do."
