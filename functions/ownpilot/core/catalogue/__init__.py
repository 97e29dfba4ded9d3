"""Which models there are: facts of models.dev, what a person changes of them, and how a model is reached."""
