"""Finance pages, and who may open them and the back office: staff with a second factor."""
