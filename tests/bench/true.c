/* The smallest program: what starting it costs is what a runtime costs. */
int main(void)
{
	return 0;
}
